//! Sources of which only the pictures tell what cutting depends on.

use crate::common::{
    conform::{Way, assert_conforms},
    ffmpeg::{Folder, load, pictures, sound, words},
    smart::smart_cut,
    source::{AAC, H264, Source, encode},
};
use model::{ClipError, ErrorKind};
use mp4_cut::Movie;
use std::path::{Path, PathBuf};

fn build(folder: &Folder, options: &str) -> PathBuf {
    folder.build(
        "source.mp4",
        &[
            pictures("30", 4),
            sound(4),
            words(H264),
            words(AAC),
            words(options),
        ],
    )
}

/// Changes the bytes of a file.
fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut file = load(path).to_vec();
    change(&mut file);
    std::fs::write(path, file).expect("room");
}

fn position(file: &[u8], wanted: &[u8]) -> usize {
    file.windows(wanted.len())
        .position(|found| found == wanted)
        .expect("it is there")
}

/// A copy and an encode of a second from within a group of pictures are exact.
async fn assert_cut_exactly(source: &Source) {
    let (window, copy) = source.cut(2.4..3.4).await;
    // FFmpeg remarks that the pictures before those that are shown refer to missing ones.
    assert_conforms(source, &window, Way::OpenCopy, &copy).await;
    let encoded = encode(source, &window, &copy).await;
    assert_conforms(source, &window, Way::Encode, &encoded).await;
}

#[tokio::test]
async fn cut_of_intra_refresh_begins_where_its_pictures_are_complete() {
    // Pictures that others do not refer to do not count, so with them more have to be decoded.
    for (options, from_the_first) in [("-bf 0", false), ("-bf 2", true)] {
        let folder = Folder::new();
        let refresh = format!("{options} -g 40 -x264-params intra-refresh=1:keyint=40");
        let source = Source::decode(&build(&folder, &refresh)).await;
        let (window, _) = source.cut(2.4..3.4).await;
        let keyframe = window.facts.keyframe_seconds;
        assert_eq!(keyframe < 0.1, from_the_first, "{keyframe}");
        assert_cut_exactly(&source).await;
        let why = smart_cut(&source, 2.4..3.4).await.err().unwrap_or_default();
        assert_eq!(why, "the clip has no keyframe that a copy can begin with");
    }
}

#[tokio::test]
async fn picture_that_is_no_keyframe_is_not_believed_to_be_one() {
    // All of them, as no list says; and one of three, as the list says wrongly.
    let no_list = |file: &mut Vec<u8>| {
        let at = position(file, b"stss");
        file[at..at + 4].copy_from_slice(b"free");
    };
    let wrong_list = |file: &mut Vec<u8>| {
        let second = position(file, b"stss") + 16;
        for number in [1, 2, 3] {
            let at = second + 4 * (number - 1) + 3;
            file[at] += 7;
        }
    };
    for make in [&no_list as &dyn Fn(&mut Vec<u8>), &wrong_list] {
        let folder = Folder::new();
        let path = build(&folder, "");
        change(&path, make);
        let source = Source::decode(&path).await;
        assert_cut_exactly(&source).await;
    }
}

#[tokio::test]
async fn copy_of_yuv444_names_the_version_of_its_encoder_in_front() {
    let folder = Folder::new();
    let source = Source::decode(&build(&folder, "-pix_fmt yuv444p")).await;
    for interval in [0.0..1.2, 2.4..3.4] {
        let (window, copy) = source.cut(interval.clone()).await;
        let file = load(&copy);
        let version = b"x264 - core ";
        let named = file
            .windows(version.len())
            .filter(|found| found == version)
            .count();
        assert_eq!(named, 1);
        assert_conforms(&source, &window, Way::Copy, &copy).await;
        let (window, facts, clip) = smart_cut(&source, interval).await.expect("a smart cut");
        assert_conforms(&source, &window, Way::Smart(facts), &clip).await;
    }
}

#[tokio::test]
async fn nothing_is_put_in_front_of_yuv444_of_an_old_version_of_x264() {
    let folder = Folder::new();
    let path = build(&folder, "-pix_fmt yuv444p");
    change(&path, |file| {
        let version = position(file, b"x264 - core ") + 12;
        file[version..version + 3].copy_from_slice(b"142");
    });
    let source = Source::decode(&path).await;
    let why = smart_cut(&source, 0.4..3.4).await.err().unwrap_or_default();
    assert_eq!(
        why,
        "how its pictures in 4:4:4 decode depends on the version of x264"
    );
}

/// Makes fields of the frames of a file that has nothing but pictures, each of one slice: top and bottom in turn. Only
/// their headers are right.
fn make_fields(file: &mut [u8]) {
    /// Bits of `frame_num` that x264 writes with the options below.
    const FRAME_NUM_BITS: usize = 4;
    let mut at = position(file, b"mdat") + 4;
    let mut number = 0;
    while at + 4 < file.len() {
        let length = u32::from_be_bytes(*file[at..].first_chunk().expect("a length")) as usize;
        let slice_type_bits = match file[at + 4] & 31 {
            5 => Some(7),
            1 => Some(5),
            _ => None,
        };
        if let Some(slice_type_bits) = slice_type_bits {
            let field = 8 + 1 + slice_type_bits + 1 + FRAME_NUM_BITS;
            for (bit, is_set) in [(field, true), (field + 1, number % 2 == 1)] {
                let (byte, mask) = (at + 4 + bit / 8, 128 >> (bit % 8));
                file[byte] = file[byte] & !mask | if is_set { mask } else { 0 };
            }
            number += 1;
        }
        at += 4 + length;
    }
}

#[tokio::test]
async fn fields_that_are_stored_as_frames_are_refused_by_name() {
    let folder = Folder::new();
    let options = "-frames:v 10 -bf 0 -g 250 -x264-params interlaced=1:slices=1";
    let path = folder.build(
        "source.mp4",
        &[pictures("25", 1), words(H264), words(options)],
    );
    assert!(
        Movie::read(&load(&path)).await.is_ok(),
        "frames of two fields are no matter"
    );
    change(&path, |file| {
        let end = position(file, b"moov") - 4;
        make_fields(&mut file[..end]);
    });
    let error = Movie::read(&load(&path)).await.expect_err("fields");
    let error = ClipError::from(error);
    assert_eq!(error.kind, ErrorKind::UnsupportedMedia);
    assert!(
        error.message.contains("field-coded H.264 (PAFF)"),
        "{error}"
    );
}
