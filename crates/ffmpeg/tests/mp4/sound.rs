//! Audio of every codec that a source may have, after an edit.

use super::containers::assert_cuts_are_exact;
use crate::common::{
    ffmpeg::{Folder, SAMPLE_RATE, decode, ffmpeg, load, pictures, probe, read, sound, words},
    smart::{smart_cut, smart_cuts},
    source::{H264, Source, edit, encode, microseconds},
};
use model::{
    clip_spec::{AudioFormat, has_aac_number},
    request::Format,
};
use mp4_cut::AudioFacts;
use serde_json::json;
use std::{
    ops::Range,
    path::{Path, PathBuf},
};

/// How `FFmpeg` writes a codec: the file's name and options.
const CODECS: [(&str, &str); 13] = [
    ("aac.mp4", "-c:a aac"),
    ("mp3.mp4", "-c:a libmp3lame"),
    ("opus.mp4", "-c:a libopus"),
    ("vorbis.mp4", "-c:a vorbis -ac 2 -strict -2"),
    ("ac3.mp4", "-c:a ac3"),
    ("eac3.mp4", "-c:a eac3"),
    ("dts.mp4", "-c:a dca -strict -2"),
    ("flac.mp4", "-c:a flac"),
    ("alac.mp4", "-c:a alac"),
    ("mp2.mp4", "-c:a mp2"),
    ("pcm.mov", "-c:a pcm_s16le"),
    ("float.mov", "-c:a pcm_f32le"),
    ("adpcm.mov", "-c:a adpcm_ima_qt"),
];
/// Intervals that begin and end within packets: close to the start, across keyframes, within a group of pictures.
const INTERVALS: [Range<f64>; 3] = [0.1..0.633, 0.733..2.5, 2.3..2.9];

/// The largest audio offset, in samples: 1 ms.
const MAX_OFF: usize = SAMPLE_RATE / 1000;

/// Asserts that copies, smart cuts and encodes of a source have all of its audio, in place. Its decoder needs
/// `settling_seconds` to settle.
async fn assert_sound_is_in_place(path: &Path, settling_seconds: f64) {
    let source = Source::decode(path).await;
    assert!(source.movie.facts.audio.is_some(), "{}", path.display());
    for interval in INTERVALS {
        let (window, copy) = source.cut(interval.clone()).await;
        assert!(window.facts.has_audio);
        let encoded = encode(&source, &window, &copy).await;
        let mut clips = vec![
            ("copy", decode(&copy, true)),
            ("encode", decode(&encoded, true)),
        ];
        assert_sound_ends_with_pictures(&encoded).await;
        if let Ok((.., clip)) = smart_cut(&source, interval.clone()).await {
            assert_sound_ends_with_pictures(&clip).await;
            clips.push(("smart cut", decode(&clip, true)));
        }
        for (way, clip) in clips {
            let mut settled = window.clone();
            settled.facts.start_seconds += settling_seconds;
            let from = sample_at(settling_seconds);
            let off = source.sound_off(&settled, clip.sound.get(from..).unwrap_or_default());
            let label = format!("{way} of {} at {interval:?}", path.display());
            assert!(off <= MAX_OFF, "{label}: the sound is off by {off} samples");
        }
    }
}

/// Asserts it as strictly as the step that verifies clips.
async fn assert_sound_ends_with_pictures(clip: &Path) {
    let facts = read(&load(clip)).await.facts;
    let excess = facts.duration_seconds - facts.video.duration_seconds;
    assert!(
        excess < 0.05,
        "{}: the audio is {excess} s too long",
        clip.display()
    );
}

fn sample_at(seconds: f64) -> usize {
    usize::try_from(microseconds(seconds)).expect("a time") * SAMPLE_RATE / 1_000_000
}

#[tokio::test]
async fn sound_of_every_codec_is_in_place_behind_an_edit() {
    let folder = Folder::new();
    for (name, options) in CODECS {
        let path = folder.build(
            name,
            &[pictures("30", 3), sound(3), words(H264), words(options)],
        );
        assert_sound_is_in_place(&path, 0.0).await;
    }
}

#[tokio::test]
async fn sound_that_decodes_to_nothing_at_first_is_in_place_in_other_containers() {
    let folder = Folder::new();
    let codec = words("-c:a vorbis -ac 2 -strict -2");
    let path = folder.build("a.mkv", &[pictures("30", 3), sound(3), words(H264), codec]);
    assert_cuts_are_exact(&path, &[(0.1, 0.633), (0.7, 2.5), (2.3, 2.9)]).await;
}

/// AMR frames in storage format (RFC 4867, 5.3), each with its table of contents: noise of even loudness, since their
/// first and most important bits are always the same.
fn amr(contents: u8, frame_bytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let head = [&[contents][..], &[0x99; 11]].concat();
    let mut frames = Vec::new();
    for _ in 0..150 {
        frames.extend(&head);
        frames.extend((head.len()..=frame_bytes).map(|_| byte()));
    }
    frames
}

/// Where the body of the last box of a kind begins.
fn last_box(file: &[u8], kind: [u8; 4]) -> usize {
    4 + file
        .windows(4)
        .rposition(|bytes| bytes == kind)
        .expect("a box")
}

/// Merges every `count` samples of a file's last track into one. They all have the same length and are in `media`.
fn pack(file: &mut Vec<u8>, media: &[u8], count: u32) {
    let media_at = u32::try_from(file.len() + 8).expect("a short file");
    let bytes = u32::try_from(media.len() + 8).expect("a short box");
    file.extend([&bytes.to_be_bytes()[..], b"mdat", media].concat());
    let number =
        |file: &[u8], at: usize| u32::from_be_bytes(*file[at..].first_chunk().expect("a number"));
    let [times, lengths, chunks, offsets] =
        [*b"stts", *b"stsz", *b"stsc", *b"stco"].map(|kind| last_box(file, kind));
    let (duration, size) = (number(file, times + 12), number(file, lengths + 4));
    let samples = number(file, lengths + 8) / count;
    for (at, value) in [
        (times + 8, samples),
        (times + 12, duration * count),
        (lengths + 4, size * count),
        (lengths + 8, samples),
        (chunks + 4, 1),
        (chunks + 12, samples),
        (offsets + 4, 1),
        (offsets + 8, media_at),
    ] {
        file[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }
}

#[tokio::test]
async fn sound_of_packets_of_several_frames_is_in_place_behind_an_edit() {
    let folder = Folder::new();
    // Narrow band at 12.2 kbit/s and wide band at 23.85.
    for (name, magic, contents, frame_bytes) in [
        ("narrow", "#!AMR\n", 0x3c, 31),
        ("wide", "#!AMR-WB\n", 0x44, 60),
    ] {
        let stream = folder.path("sound.amr");
        let media = amr(contents, frame_bytes);
        std::fs::write(&stream, [magic.as_bytes(), &media].concat()).expect("room");
        let input = vec!["-i".to_owned(), stream.display().to_string()];
        let path = folder.build(
            &format!("{name}.3gp"),
            &[pictures("30", 3), input, words(H264), words("-c:a copy")],
        );
        assert_sound_is_in_place(&path, 0.0).await;
        for count in [2, 5, 10] {
            let mut file = load(&path).to_vec();
            pack(&mut file, &media, count);
            let packed = folder.path(&format!("{name}-{count}.3gp"));
            std::fs::write(&packed, file).expect("room");
            assert_sound_is_in_place(&packed, 0.0).await;
        }
    }
}

/// Options for three seconds of audio in which each channel of a layout has its own tone, see [`tone`].
fn tones(layout: &str, channels: &[&str]) -> Vec<String> {
    let tones: Vec<_> = channels
        .iter()
        .map(|channel| format!("0.2*sin({}*PI*t)", 2 * tone(channel)))
        .collect();
    words(&format!(
        "-f lavfi -i aevalsrc={}:s=48000:c={layout}:d=3",
        tones.join("|")
    ))
}

/// The tone of a channel, in Hz; 0 for none. Side channels have the same tones as rear ones.
fn tone(channel: &str) -> u32 {
    match channel {
        "LFE" => 50,
        "FC" => 200,
        "FL" => 300,
        "FR" => 400,
        "BL" | "SL" => 500,
        "BR" | "SR" => 600,
        "BC" => 700,
        "silence" => 0,
        other => panic!("{other} has no tone"),
    }
}

/// The tone of each channel of an audio track, in Hz; 0 for silence.
fn tones_of(path: &Path, track: usize) -> Vec<u32> {
    let channels: usize = streams(path)[track].0;
    let input = [words("-ss 0.5 -i"), vec![path.display().to_string()]].concat();
    let options = words(&format!("-map 0:a:{track} -t 1 -f s16le -"));
    let samples = ffmpeg(&[input, options].concat());
    let samples: Vec<i16> = samples
        .as_chunks()
        .0
        .iter()
        .map(|sample| i16::from_le_bytes(*sample))
        .collect();
    let tone = |channel: usize| {
        let heard: Vec<_> = samples
            .iter()
            .skip(channel)
            .step_by(channels)
            .filter(|sample| sample.unsigned_abs() > 500)
            .collect();
        let crossings = heard
            .windows(2)
            .filter(|pair| pair[0].signum() != pair[1].signum())
            .count();
        u32::try_from(crossings).expect("a tone").div_ceil(2)
    };
    (0..channels).map(tone).collect()
}

/// The number and layout of each audio track's channels.
fn streams(path: &Path) -> Vec<(usize, String)> {
    let said = probe(
        path,
        "-select_streams a -show_entries stream=channels,channel_layout",
    );
    said.lines()
        .map(|line| {
            let (channels, layout) = line.split_once(',').expect("channels and a layout");
            (channels.parse().expect("a number"), layout.to_owned())
        })
        .collect()
}

/// Asserts that all audio tracks of a clip have this layout, with each channel's tone, and that the clip can be cut
/// again.
async fn assert_has_layout(clip: &Path, (layout, channels): (&str, &[&str]), tracks: usize) {
    let expected: Vec<_> = channels.iter().map(|channel| tone(channel)).collect();
    assert_eq!(
        streams(clip),
        vec![(channels.len(), layout.to_owned()); tracks]
    );
    for track in 0..tracks {
        for (found, expected) in tones_of(clip, track).into_iter().zip(&expected) {
            assert!(found.abs_diff(*expected) <= 5, "{found} Hz, not {expected}");
        }
    }
    let again = Source::decode(clip).await;
    let facts = again.movie.facts.audio.as_ref().expect("sound");
    assert_eq!(
        (facts.channels as usize, &facts.layout),
        (channels.len(), &None)
    );
    let (window, copy) = again.cut(0.3..1.4).await;
    let encoded = encode(&again, &window, &copy).await;
    assert_eq!(streams(&encoded), streams(clip));
}

const IN_5_1: [&str; 6] = ["FL", "FR", "FC", "LFE", "BL", "BR"];
const IN_5_1_SIDE: [&str; 6] = ["FL", "FR", "FC", "LFE", "SL", "SR"];

/// A source with two tracks of the same audio.
fn build(folder: &Folder, name: &str, sound: Vec<String>, options: &str) -> PathBuf {
    let tracks = words("-map 0 -map 1 -map 1 -shortest");
    folder.build(
        name,
        &[
            pictures("30", 3),
            sound,
            words(H264),
            words(options),
            tracks,
        ],
    )
}

#[tokio::test]
async fn channels_of_a_layout_without_a_number_get_one_and_stay_where_they_are() {
    let folder = Folder::new();
    let in_7_1 = ["FL", "FR", "FC", "LFE", "BC", "BC", "SL", "SR"];
    let in_6_1 = ["FL", "FR", "FC", "LFE", "BC", "SL", "SR"];
    for (name, layout, of, options, to, conformed) in [
        (
            "aac.mp4",
            "5.1(side)",
            &IN_5_1_SIDE[..],
            "-c:a aac",
            ("5.1", &IN_5_1[..]),
            "channel layout unknown to 5.1",
        ),
        (
            "ac3.mp4",
            "5.1(side)",
            &IN_5_1_SIDE,
            "-c:a ac3",
            ("5.1", &IN_5_1),
            "channel layout 5.1(side) to 5.1",
        ),
        (
            "eac3.mp4",
            "5.1(side)",
            &IN_5_1_SIDE,
            "-c:a eac3",
            ("5.1", &IN_5_1),
            "channel layout 5.1(side) to 5.1",
        ),
        (
            "six.mp4",
            "6.1(back)",
            &["FL", "FR", "FC", "LFE", "BL", "BR", "silence"],
            "-c:a aac",
            (
                "7.1",
                &["FL", "FR", "FC", "LFE", "BL", "BR", "silence", "silence"],
            ),
            "channels 7 to 8",
        ),
        (
            "flac.mp4",
            "6.1",
            &in_6_1,
            "-c:a flac",
            ("7.1", &in_7_1),
            "channels 7 to 8",
        ),
        (
            "usual.mp4",
            "5.1",
            &IN_5_1,
            "-c:a aac",
            ("5.1", &IN_5_1),
            "",
        ),
        (
            "quad.mp4",
            "quad",
            &["FL", "FR", "BL", "BR"],
            "-c:a flac",
            ("5.0", &["FL", "FR", "silence", "BL", "BR"]),
            "channels 4 to 5",
        ),
    ] {
        let path = build(&folder, name, tones(layout, of), options);
        let source = Source::decode(&path).await;
        let (window, copy) = source.cut(0.3..2.7).await;
        let (encoded, spec) = edit(&source, &window, &copy, &json!({})).await;
        let sound = spec.audio.expect("sound");
        assert_eq!(
            (sound.layout, sound.channels as usize),
            (to.0, to.1.len()),
            "{name}"
        );
        let said = spec.conformed().concat();
        assert_eq!(
            said.trim_start_matches("segments[0]: "),
            conformed,
            "{name}"
        );
        assert_has_layout(&encoded, to, 2).await;
        let (faster, _) = edit(&source, &window, &copy, &json!({"speed": 1.001})).await;
        assert_has_layout(&faster, to, 1).await;
        let (.., clip) = smart_cut(&source, 0.3..2.7).await.expect("a smart cut");
        assert_has_layout(&clip, to, 2).await;
        let intervals = [(&source, 0.3..1.7), (&source, 1.2..2.7)];
        let joined = smart_cuts(&intervals, spec.audio)
            .await
            .expect("a smart cut");
        assert_has_layout(&joined.path, to, 1).await;
    }
}

#[test]
fn layout_that_is_planned_is_the_one_that_ffmpeg_chooses() {
    // Layouts that AAC has a number for are not named in a source's facts.
    const LAYOUTS: &str = "4.0=4 5.0=5 7.1=8 2.1=3 3.0(back)=3 quad=4 quad(side)=4 3.1=4 4.1=5 5.0(side)=5 \
         5.1(side)=6 6.0=6 6.0(front)=6 hexagonal=6 6.1=7 6.1(back)=7 6.1(front)=7 7.0=7 7.0(front)=7 7.1(wide)=8 \
         7.1(wide-side)=8 octagonal=8 cube=8 5.1.2=8 3.1.2=6";
    let folder = Folder::new();
    for (format, file) in [(Format::Mp4, "a.mp4"), (Format::Webm, "a.webm")] {
        for (layout, channels) in LAYOUTS
            .split_whitespace()
            .filter_map(|word| word.split_once('='))
        {
            let source = AudioFacts {
                codec: "aac".to_owned(),
                channels: channels.parse().expect("a number"),
                layout: (!has_aac_number(layout)).then(|| layout.to_owned()),
                sample_rate: 48_000,
                bit_rate: 0,
                tracks: 1,
                languages: Vec::new(),
            };
            let planned = AudioFormat::of(&source, format);
            let input = format!("-f lavfi -i anullsrc=cl={layout}:r=48000:d=0.1 -filter:a");
            let codec = if format == Format::Webm {
                "libopus"
            } else {
                "aac"
            };
            let filters = vec![ffmpeg::audio::track_filters(format)];
            let codec = words(&format!("-c:a {codec}"));
            let path = folder.build(file, &[words(&input), filters, codec]);
            let found = probe(&path, "-show_entries stream=channels");
            assert_eq!(
                found.trim(),
                planned.channels.to_string(),
                "{layout} in {file}"
            );
        }
    }
}
