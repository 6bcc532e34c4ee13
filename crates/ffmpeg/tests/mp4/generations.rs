//! HEVC smart cuts that are cut again and played from anywhere.

use crate::common::{
    conform::{Way, assert_conforms},
    ffmpeg::{Folder, Picture, decode, ffmpeg, load, pictures, read, words},
    property::assert_for_any,
    smart::smart_cut,
    source::{H264, HEVC, Source},
};
use proptest::prelude::*;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

const GROUPS: &str = "log-level=error:keyint=24:min-keyint=24:scenecut=0:bframes=3";

fn build(folder: &Folder, parameters: &str, pixels: &str) -> PathBuf {
    let options = format!("{HEVC} -pix_fmt {pixels} -x265-params {GROUPS}:{parameters}");
    folder.build("source.mp4", &[pictures("30", 5), words(&options)])
}

/// Source options: all sorts of GOPs and pixel formats.
const KINDS: [(&str, &str); 4] = [
    ("open-gop=0", "yuv420p"),
    ("open-gop=1:b-adapt=0", "yuv420p"),
    ("open-gop=0", "yuv420p10le"),
    ("open-gop=1:b-adapt=0", "yuv420p10le"),
];

#[tokio::test]
async fn smart_cuts_of_smart_cuts_of_hevc_are_exact() {
    let folder = Folder::new();
    for (parameters, pixels) in KINDS {
        let mut source = Source::decode(&build(&folder, parameters, pixels)).await;
        for end in [4.5, 3.8, 3.1] {
            let cut = smart_cut(&source, 0.3..end).await;
            let (window, facts, clip) = cut.expect("a smart cut");
            assert!(facts.copied_seconds > 1.0, "{parameters}: {facts:?}");
            assert_conforms(&source, &window, Way::Smart(facts), &clip).await;
            // A source's folder is removed with it.
            let kept = folder.path("cut.mp4");
            std::fs::copy(&clip, &kept).expect("room");
            source = Source::decode(&kept).await;
        }
    }
}

/// The hash of the picture shown when playback starts at a time, in microseconds.
fn shown_from(clip: &Path, time: i64) -> String {
    let seconds = format!("{}us", (time - 5000).max(0));
    let input = ["-ss", &seconds, "-i", &clip.display().to_string()].map(str::to_owned);
    let output = words("-map 0:v:0 -frames:v 1 -f framemd5 -");
    let listing = ffmpeg(&[input.to_vec(), output].concat());
    let listing = String::from_utf8(listing).expect("text");
    let hash = listing
        .lines()
        .last()
        .and_then(|line| line.split(',').nth(5));
    hash.expect("a picture").trim().to_owned()
}

#[tokio::test]
async fn every_picture_of_a_smart_cut_of_hevc_can_be_sought() {
    let folder = Folder::new();
    for (parameters, pixels) in KINDS {
        let source = Source::decode(&build(&folder, parameters, pixels)).await;
        let (.., clip) = smart_cut(&source, 0.5..2.5).await.expect("a smart cut");
        for picture in decode(&clip, false).pictures {
            let shown = shown_from(&clip, picture.time);
            assert_eq!(shown, picture.hash, "{parameters}: at {} µs", picture.time);
        }
    }
}

/// Encoder options and pixel formats.
fn codings() -> impl Strategy<Value = String> {
    let depths = prop::sample::select(vec!["yuv420p", "yuv420p10le"]);
    let hevc = (any::<bool>(), 1_u32..4, any::<bool>()).prop_map(|(is_open, slices, is_repeated)| {
        let [open, repeated] = [is_open, is_repeated].map(u8::from);
        format!("{HEVC} -x265-params log-level=error:open-gop={open}:slices={slices}:repeat-headers={repeated}")
    });
    let h264 = Just(format!("{H264} -x264-params threads=1"));
    let pyramid = (6_u32..50, 0_u32..9, 1_u32..6, any::<bool>());
    (prop_oneof![3 => hevc, 1 => h264], depths, pyramid).prop_map(
        |(codec, depth, (group, b_frames, references, is_pyramid))| {
            let pyramid = u8::from(is_pyramid);
            let groups = format!(
                "keyint={group}:min-keyint={group}:scenecut=0:bframes={b_frames}:b-adapt=0:rc-lookahead=10:ref={references}:\
                 b-pyramid={pyramid}"
            );
            format!("{codec}:{groups} -pix_fmt {depth}")
        },
    )
}

/// How many pictures before and after a keyframe or a seam are sought.
const AROUND: usize = 2;
/// In how many clips we seek.
const CLIPS: u32 = 6;

#[test]
fn pictures_around_every_keyframe_and_seam_of_any_smart_cut_can_be_sought() {
    let values = (codings(), 0.0..0.6, 0.4..1.0);
    assert_for_any(
        CLIPS,
        &values,
        async |(coding, start, length): (String, f64, f64)| {
            let folder = Folder::new();
            let path = folder.build("source.mp4", &[pictures("30", 4), words(&coding)]);
            let source = Source::decode(&path).await;
            let interval = 4.0 * start..4.0 * (start + (1.0 - start) * length);
            let Ok((window, facts, clip)) = smart_cut(&source, interval).await else {
                return;
            };
            assert_conforms(&source, &window, Way::Smart(facts), &clip).await;
            let shown = decode(&clip, false).pictures;
            for index in sought(&shown, source.pictures_in(&window), &clip).await {
                let Picture { time, hash } = &shown[index];
                assert_eq!(
                    &shown_from(&clip, *time),
                    hash,
                    "{coding}: at {time} µs of {window:?}"
                );
            }
        },
    );
}

/// The pictures to seek: those around every keyframe of a clip, and around every boundary of copied
/// pictures.
async fn sought(shown: &[Picture], expected: &[Picture], clip: &Path) -> BTreeSet<usize> {
    let frames = read(&load(clip)).await.shown_frames().expect("frames");
    assert_eq!(frames.len(), shown.len());
    let is_copied = |index: usize| shown[index].hash == expected[index].hash;
    let places = (0..shown.len()).filter(|index| {
        frames[*index].is_keyframe || *index > 0 && is_copied(*index) != is_copied(index - 1)
    });
    let last = shown.len() - 1;
    places
        .flat_map(|place| place.saturating_sub(AROUND)..=(place + AROUND).min(last))
        .collect()
}
