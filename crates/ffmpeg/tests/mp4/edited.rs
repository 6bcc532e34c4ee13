//! Clips that are encoded whole, of sources whose pictures are shown in another size than they are stored in.

use crate::common::{
    boxes,
    ffmpeg::{Folder, load, pictures, read, sound, words},
    source::{AAC, H264, Source, edit},
};
use model::clip_spec::Size;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The clip of a second of a source is of the size that was planned, which is this one, and all of its frames are there.
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
    let wanted = if spec.plain {
        Size::shown(&source.movie.facts.video)
    } else {
        spec.size
    };
    assert_eq!(wanted.to_string(), size, "{edits}");
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
