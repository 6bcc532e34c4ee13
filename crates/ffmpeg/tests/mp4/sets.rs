//! Parameter sets in samples, and NAL unit lengths of one or two bytes.

use crate::common::{
    boxes,
    conform::{Way, assert_all_conform, assert_conforms},
    ffmpeg::{Folder, load, pictures, sound, words},
    lengths::with_lengths,
    smart::{MadeCut, smart_cut, smart_cuts},
    source::{AAC, H264, HEVC, Source, clip_of, encode},
};
use crate::containers::assert_cuts_are_exact;
use bytes::Bytes;
use futures::TryStreamExt;
use mp4_atom::{Atom, Avcc, Hvcc};
use mp4_cut::{Join, Movie};
use serde_json::json;
use std::path::{Path, PathBuf};

const GROUPS: &str = "log-level=error:keyint=24:min-keyint=24:scenecut=0:open-gop=0";
/// Also puts the parameter sets before every keyframe.
const REPEATED: &str = "-bsf:v dump_extra=freq=keyframe";
/// Cuts of four seconds: from the start, amid, to the end.
const INTERVALS: [(f64, f64); 4] = [(0.0, 1.2), (1.1, 3.3), (2.7, 3.5), (2.9, 4.0)];

fn build(folder: &Folder, options: &str) -> PathBuf {
    let encoders = [words(H264), words("-g 24"), words(AAC), words(options)];
    let inputs = [pictures("30", 4), sound(4)];
    folder.build("source.mp4", &[&inputs[..], &encoders].concat())
}

/// The body of the box that contains a file's parameter sets.
fn record(file: &[u8], kind: [u8; 4]) -> Vec<u8> {
    let at = boxes::first(file, kind);
    file[at + 8..at + boxes::size(file, at)].to_vec()
}

/// Removes the parameter sets from the H.264 record and fills the space with a box that nobody reads.
fn empty_record(file: &mut [u8]) {
    let at = boxes::first(file, *b"avcC");
    let size = boxes::size(file, at);
    file[at + 13..at + 15].copy_from_slice(&[0xe0, 0]);
    file[at + 3] = 15;
    let rest = u32::try_from(size - 15).expect("a short box");
    file[at + 15..at + 19].copy_from_slice(&rest.to_be_bytes());
    file[at + 19..at + 23].copy_from_slice(b"free");
    file[at + 23..at + size].fill(0);
}

/// Makes the record contradict the parameter sets in the samples.
fn falsify_record(file: &mut [u8], kind: [u8; 4]) {
    let at = boxes::first(file, kind);
    let end = at + boxes::size(file, at);
    // A byte of a picture parameter set after its ids: for H.264 the last one before the High profile's fields.
    let byte = if kind == *b"avcC" {
        end - 5
    } else {
        let set = file[at..end]
            .windows(2)
            .position(|header| header == [68, 1]);
        at + set.expect("a set") + 4
    };
    file[byte] ^= 0x30;
}

/// Makes an H.265 record claim that it has all parameter sets.
fn say_complete(record: &mut [u8]) {
    let length = |at: usize| usize::from(u16::from_be_bytes([record[at], record[at + 1]]));
    let (mut at, mut heads) = (23, Vec::new());
    for _ in 0..record[22] {
        heads.push(at);
        let units = length(at + 1);
        at += 3;
        for _ in 0..units {
            at += 2 + length(at);
        }
    }
    for head in heads {
        if (32..=34).contains(&record[head]) {
            record[head] |= 0x80;
        }
    }
}

/// Asserts that all cuts of a source are right, and that their records are `expected`.
async fn assert_described(path: &Path, kind: [u8; 4], expected: &[u8]) {
    let source = Source::decode(path).await;
    for interval in [0.0..1.2, 1.1..3.3, 2.7..4.0] {
        let cuts = [(&source.movie, &source.bytes, interval.start, interval.end)];
        let described = Movie::described(&cuts).await.expect("a source").remove(0);
        let source = &Source {
            movie: described,
            ..Source::decode(path).await
        };
        let (window, copy) = source.cut(interval.clone()).await;
        assert_conforms(source, &window, Way::Copy, &copy).await;
        let file = load(&copy);
        assert_eq!(record(&file, kind), expected, "{interval:?}");
        let entry = if kind == *b"avcC" { *b"avc1" } else { *b"hvc1" };
        boxes::first(&file, entry);
        let encoded = encode(source, &window, &copy).await;
        assert_conforms(source, &window, Way::Encode, &encoded).await;
        let (window, facts, clip) = smart_cut(source, interval).await.expect("a smart cut");
        assert!(facts.copied_seconds > 0.4, "{facts:?}");
        assert_conforms(source, &window, Way::Smart(facts), &clip).await;
    }
}

#[tokio::test]
async fn parameter_sets_that_only_pictures_have_are_in_the_clips_record() {
    let folder = Folder::new();
    let path = build(&folder, REPEATED);
    let whole = load(&path).to_vec();
    let expected = record(&whole, *b"avcC");
    for is_empty in [false, true] {
        for kind in [*b"avc1", *b"avc3"] {
            let mut file = whole.clone();
            let entry = boxes::first(&file, *b"avc1");
            boxes::rename(&mut file, entry, kind);
            if is_empty {
                empty_record(&mut file);
            }
            std::fs::write(&path, file).expect("room");
            assert_described(&path, *b"avcC", &expected).await;
        }
    }
}

#[tokio::test]
async fn record_that_says_something_else_than_the_pictures_is_mended() {
    let folder = Folder::new();
    // With any other tag, FFmpeg removes the sets from the samples.
    let hevc = format!("{HEVC} -x265-params {GROUPS} {REPEATED} -tag:v hev1");
    for (options, kind) in [(REPEATED, *b"avcC"), (&hevc, *b"hvcC")] {
        let path = build(&folder, options);
        let mut file = load(&path).to_vec();
        let mut expected = record(&file, kind);
        if kind == *b"hvcC" {
            say_complete(&mut expected);
            let entry = boxes::first(&file, *b"hev1");
            boxes::rename(&mut file, entry, *b"hvc1");
        }
        falsify_record(&mut file, kind);
        assert_ne!(record(&file, kind), expected);
        std::fs::write(&path, file).expect("room");
        assert_described(&path, kind, &expected).await;
    }
}

/// The parameter sets of a record.
fn sets_of(record: &[u8], kind: [u8; 4]) -> Vec<Vec<u8>> {
    if kind == *b"avcC" {
        let record = Avcc::decode_body(&mut &record[..]).expect("a record");
        let (sps, pps) = (
            record.sequence_parameter_sets,
            record.picture_parameter_sets,
        );
        return [sps, pps].concat();
    }
    let record = Hvcc::decode_body(&mut &record[..]).expect("a record");
    let arrays = record.arrays.into_iter();
    arrays.flat_map(|array| array.nalus).collect()
}

/// Leaves each set only in the first sample that has it; elsewhere it becomes filler data.
fn keep_first(file: &mut [u8], sets: &[Vec<u8>], kind: [u8; 4]) {
    let filler = if kind == *b"avcC" { 12 } else { 38 << 1 };
    for set in sets {
        let length = u32::try_from(set.len()).expect("a short set").to_be_bytes();
        let unit = [&length, &set[..]].concat();
        let units = file.windows(unit.len()).enumerate();
        let same = units.filter(|(_, bytes)| *bytes == unit);
        let places: Vec<usize> = same.map(|(at, _)| at + 4).collect();
        assert!(places.len() > 1, "{} of {set:x?}", places.len());
        for at in &places[1..] {
            file[*at] = filler;
        }
    }
}

#[tokio::test]
async fn sets_of_the_first_sample_count_before_those_of_the_record_at_every_keyframe() {
    let folder = Folder::new();
    let fragments = "-movflags +frag_keyframe+delay_moov+default_base_moof+global_sidx";
    let fragmented = format!("{REPEATED} {fragments}");
    let hevc = format!("{HEVC} -x265-params {GROUPS} {REPEATED} -tag:v hev1");
    for (options, kind) in [
        (REPEATED, *b"avcC"),
        (&fragmented, *b"avcC"),
        (&hevc, *b"hvcC"),
    ] {
        let path = build(&folder, options);
        let mut file = load(&path).to_vec();
        let sets = sets_of(&record(&file, kind), kind);
        keep_first(&mut file, &sets, kind);
        if kind == *b"hvcC" {
            let entry = boxes::first(&file, *b"hev1");
            boxes::rename(&mut file, entry, *b"hvc1");
        }
        falsify_record(&mut file, kind);
        std::fs::write(&path, file).expect("room");
        let (copied, refused) = assert_cuts_are_exact(&path, &INTERVALS).await;
        assert!(copied > 3.0, "{options}: {copied} s; {refused:?}");
    }
}

#[tokio::test]
async fn sets_hold_from_the_sample_that_they_are_in() {
    let folder = Folder::new();
    let hevc =
        |hides: u8| format!("{HEVC} -x265-params {GROUPS}:signhide={hides} {REPEATED} -tag:v hev1");
    let h264 = |cabac: u8| format!("{H264} -g 24 -x264-params cabac={cabac}");
    for (codecs, kind) in [
        ([h264(1), h264(0)], *b"avcC"),
        ([hevc(1), hevc(0)], *b"hvcC"),
    ] {
        let mut sets = Vec::new();
        let mut list = Vec::new();
        for (number, codec) in codecs.iter().enumerate() {
            let options = [pictures("30", 2), sound(2), words(codec), words(AAC)];
            let part = folder.build(&format!("{number}.mp4"), &options);
            sets.extend(sets_of(&record(&load(&part), kind), kind));
            list.push(format!("file '{}'", part.display()));
        }
        sets.sort();
        sets.dedup();
        let parts = folder.path("parts.txt");
        std::fs::write(&parts, list.join("\n")).expect("room");
        let joined = format!("-f concat -safe 0 -i {} -c copy", parts.display());
        let tag = if kind == *b"hvcC" { "-tag:v hev1" } else { "" };
        let path = folder.build("source.mp4", &[words(&joined), words(tag)]);
        let mut file = load(&path).to_vec();
        keep_first(&mut file, &sets, kind);
        std::fs::write(&path, file).expect("room");
        let (copied, refused) = assert_cuts_are_exact(&path, &INTERVALS).await;
        assert!(copied > 1.0, "{codecs:?}: {copied} s; {refused:?}");
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert!(
            refused[0].ends_with("change within the clip"),
            "{refused:?}"
        );
    }
}

/// A source with NAL unit lengths of this many bytes.
fn with_short_lengths(folder: &Folder, options: &str, bytes: u8) -> PathBuf {
    let path = build(folder, options);
    let file = with_lengths(&load(&path), bytes);
    std::fs::write(&path, file).expect("room");
    path
}

#[tokio::test]
async fn lengths_of_one_or_two_bytes_are_cut_in_every_way() {
    let hevc = format!("{HEVC} -x265-params {GROUPS}");
    // Without the encoder's message, which is too long for a one-byte length.
    let slices = "-x264-params slice-max-size=160 -crf 40 -vf scale=96:64 -bsf:v filter_units=remove_types=6";
    for (options, bytes) in [("", 4), ("", 2), (&hevc, 2), (slices, 1)] {
        let folder = Folder::new();
        let source = Source::decode(&with_short_lengths(&folder, options, bytes)).await;
        let mut copied = 0.0;
        for interval in [0.0..1.2, 1.1..3.3, 2.7..4.0] {
            let (window, copy) = source.cut(interval.clone()).await;
            assert_conforms(&source, &window, Way::Copy, &copy).await;
            let (window, facts, clip) = smart_cut(&source, interval).await.expect("a smart cut");
            assert_conforms(&source, &window, Way::Smart(facts), &clip).await;
            copied += facts.copied_seconds;
        }
        assert!(copied > 2.0, "{options}: {copied}");
    }
}

#[tokio::test]
async fn lengths_of_two_bytes_are_joined() {
    let folder = Folder::new();
    let source = Source::decode(&with_short_lengths(&folder, "", 2)).await;
    let intervals = [(1.1, 2.5), (0.3, 1.9)];
    let windows: Vec<_> = intervals
        .iter()
        .map(|(start, end)| source.movie.window(*start, *end).expect("a window"))
        .collect();
    let shown: Vec<_> = windows.iter().map(|window| (&source, window)).collect();
    let cuts = intervals.map(|(start, end)| (&source.movie, start, end));
    let join = Join::of(&cuts).expect("alike");
    let from = vec![&source.bytes; 2];
    join.check_joints(&from).await.expect("IDR pictures");
    let parts: Vec<Bytes> = join.stream(from, 2).try_collect().await.expect("bytes");
    let copy = folder.path("joined.mp4");
    std::fs::write(&copy, parts.concat()).expect("room");
    let copied = crate::common::ffmpeg::decode_pictures(&copy).len();
    assert_eq!(copied, 90);
    let cuts = intervals.map(|(start, end)| (&source, start..end));
    let facts = windows.iter().map(|window| (0, window.facts.clone()));
    let facts: Vec<_> = facts.collect();
    let (_, spec) = clip_of(&[&source.movie.facts], &facts, &json!({}));
    let made = smart_cuts(&cuts, spec.audio).await;
    let MadeCut { facts, path, .. } = made.expect("a smart cut");
    assert_all_conform(&shown, Way::Smart(facts), &path).await;
}
