//! Clips encoded whole from sources whose pictures are not shown in their stored size.

use crate::common::{
    boxes,
    conform::{Way, assert_conforms},
    ffmpeg::{Folder, load, pictures, read, sound, words},
    property::assert_for_any,
    smart::smart_cut,
    source::{AAC, H264, Source, clip_of, edit},
};
use model::clip_spec::Size;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Asserts that the clip of one second of a source has the planned size, which must be `size`, and all of its frames.
async fn assert_has_size(path: &Path, edits: Value, size: &str) {
    let source = Source::decode(path).await;
    let (window, copy) = source.cut(0.2..1.2).await;
    let (clip, spec) = edit(&source, &window, &copy, &edits).await;
    let video = read(&load(&clip)).await.facts.video;
    assert_eq!(
        (Size::shown(&video).to_string().as_str(), video.frames),
        (size, spec.frames()),
        "{edits}"
    );
    assert_eq!(spec.size.to_string(), size, "{edits}");
}

fn build(folder: &Folder, name: &str, options: &str) -> PathBuf {
    folder.build(
        name,
        &[
            pictures("30", 2),
            sound(2),
            words(H264),
            words(AAC),
            words(options),
        ],
    )
}

#[tokio::test]
async fn clip_of_pictures_of_odd_size_is_even() {
    let folder = Folder::new();
    let odd = words("-vf scale=321:181 -c:v mjpeg -pix_fmt yuvj444p");
    let path = folder.build("odd.mov", &[pictures("30", 2), sound(2), words(AAC), odd]);
    assert_has_size(&path, json!({}), "320x180").await;
    assert_has_size(&path, json!({"speed": 2}), "320x180").await;
}

#[tokio::test]
async fn edited_clip_of_pixels_that_are_not_square_has_square_ones() {
    let folder = Folder::new();
    let path = build(&folder, "source.mp4", "-aspect 4:3");
    assert_has_size(&path, json!({}), "240x180").await;
    for (edits, size) in [
        (json!({"rotate": 90}), "180x240"),
        (json!({"speed": 0.5}), "240x180"),
        (
            json!({"crop": {"x": 10, "y": 10, "width": 200, "height": 100}}),
            "200x100",
        ),
    ] {
        assert_has_size(&path, edits, size).await;
    }
}

#[tokio::test]
async fn shape_of_pixels_that_the_stream_alone_knows_is_kept() {
    let folder = Folder::new();
    let path = build(
        &folder,
        "source.mp4",
        "-bsf:v h264_metadata=sample_aspect_ratio=4/3",
    );
    let mut file = load(&path).to_vec();
    let pasp = boxes::first(&file, *b"pasp");
    boxes::rename(&mut file, pasp, *b"free");
    std::fs::write(&path, file).expect("room");
    assert_has_size(&path, json!({}), "426x180").await;
    assert_has_size(&path, json!({"rotate": 180}), "426x180").await;
}

#[tokio::test]
async fn clean_aperture_is_left_to_players() {
    let folder = Folder::new();
    let path = build(&folder, "source.mp4", "");
    let mut file = load(&path).to_vec();
    // 300 by 160, in the middle.
    let aperture: Vec<u8> = [40, u32::from_be_bytes(*b"clap"), 300, 1, 160, 1, 0, 1, 0, 1]
        .map(u32::to_be_bytes)
        .concat();
    boxes::add(
        &mut file,
        &[
            b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1",
        ],
        &aperture,
    );
    std::fs::write(&path, file).expect("room");
    assert_has_size(&path, json!({}), "320x180").await;
    assert_has_size(&path, json!({"rotate": 180}), "320x180").await;
}

/// How many sizes and aspect ratios are tried.
const SHAPES: u32 = 6;

#[test]
fn clip_of_any_size_and_any_shape_of_pixels_has_the_size_that_was_planned() {
    let values = (
        (8_u32..200, 8_u32..200),
        (1_u32..40, 1_u32..40),
        prop::sample::select(vec![0, 90, 180, 270]),
    );
    assert_for_any(
        SHAPES,
        &values,
        async |((across, down), (pixel_width, pixel_height), degrees)| {
            let folder = Folder::new();
            let shape = format!(
                "-vf scale={}:{},setsar={pixel_width}/{pixel_height} -frames:v 20 -g 5",
                2 * across,
                2 * down
            );
            let built = folder.build(
                "upright.mp4",
                &[pictures("30", 1), words(H264), words(&shape)],
            );
            let turned = [
                words(&format!("-display_rotation {degrees} -i")),
                vec![built.display().to_string()],
                words("-c copy"),
            ];
            let path = folder.build("source.mp4", &turned);
            let source = Source::decode(&path).await;
            let (window, copy) = source.cut(0.1..0.6).await;
            let (clip, spec) = edit(&source, &window, &copy, &json!({})).await;
            let label = format!("{:?} {:?}", source.movie.facts.video, spec);
            let size = |file: &Path| {
                let file = load(file);
                async move { Size::shown(&read(&file).await.facts.video) }
            };
            assert_eq!(size(&clip).await, spec.size, "{label}");
            if spec.why_no_copies().is_none() {
                let (.., clip) = smart_cut(&source, 0.1..0.6).await.expect("a smart cut");
                assert_eq!(size(&clip).await, spec.size, "{label}");
            }
        },
    );
}

#[tokio::test]
async fn clip_whose_width_is_shown_odd_is_smart_cut_and_encoded_alike() {
    let folder = Folder::new();
    // Shown 319 pixels wide.
    let path = build(&folder, "source.mp4", "-vf setsar=1280/1281:max=2000 -g 10");
    assert_has_size(&path, json!({}), "319x180").await;
    let source = Source::decode(&path).await;
    let (window, facts, clip) = smart_cut(&source, 0.5..1.5).await.expect("a smart cut");
    assert_conforms(&source, &window, Way::Smart(facts), &clip).await;
}

#[tokio::test]
async fn pictures_that_an_encoder_cannot_show_in_their_size_are_not_copied() {
    let folder = Folder::new();
    let odd = build(&folder, "odd.mp4", "-vf scale=321:181 -pix_fmt yuv444p");
    let movie = read(&load(&odd)).await;
    let window = movie.window(0.2, 1.2).expect("an interval").facts;
    let (_, spec) = clip_of(&[&movie.facts], &[(0, window)], &json!({}));
    assert_eq!(
        spec.why_no_copies(),
        Some("its pictures have a size that is not encoded, or several sizes")
    );
}

/// Puts the coded width in the track header, in place of the one that is shown.
fn forget_shown_width(path: &Path) {
    let mut file = load(path).to_vec();
    let width = boxes::first(&file, *b"tkhd") + 84;
    file[width..width + 4].copy_from_slice(&(320_u32 << 16).to_be_bytes());
    std::fs::write(path, file).expect("room");
}

/// Removes the pixel aspect box, and the display size from the track header.
fn forget_shape(path: &Path) {
    let mut file = load(path).to_vec();
    let pasp = boxes::first(&file, *b"pasp");
    boxes::rename(&mut file, pasp, *b"free");
    std::fs::write(path, file).expect("room");
    forget_shown_width(path);
}

#[tokio::test]
async fn shape_of_pixels_that_its_own_box_alone_knows_is_kept() {
    let folder = Folder::new();
    let vp9 = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 200k -aspect 4:3";
    let path = build(&folder, "source.mp4", vp9);
    forget_shown_width(&path);
    assert_has_size(&path, json!({}), "240x180").await;
}

#[tokio::test]
async fn shape_of_pixels_that_a_stream_of_mpeg4_alone_knows_is_kept() {
    let folder = Folder::new();
    let path = build(&folder, "source.mp4", "-c:v mpeg4 -aspect 4:3");
    forget_shape(&path);
    assert_has_size(&path, json!({}), "240x180").await;
}
