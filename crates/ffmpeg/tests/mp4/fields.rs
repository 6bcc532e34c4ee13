//! Field-coded H.264: two fields form a frame, in separate samples or in one.

use crate::common::{
    boxes,
    conform::{Way, assert_conforms},
    ffmpeg::{Folder, decode_pictures, words},
    fields::{Coded, group_frames, mp4},
    smart::smart_cut,
    source::{Source, encode},
};
use crate::containers::{Shown, Work};
use model::{ClipError, ErrorKind};
use mp4_cut::Movie;
use std::path::Path;

const GROUPS: u32 = 20;
/// All, from the start, within a group, across groups, to the end.
const INTERVALS: [(f64, f64); 5] = [
    (0.0, 4.0),
    (0.0, 0.12),
    (1.07, 1.33),
    (2.1, 3.3),
    (3.72, 4.0),
];

/// How the frame with a number is coded.
type Coding = fn(u32) -> Coded;

/// The ways in which the frames of a source are coded.
const CODED: [(&str, Coding); 4] = [
    ("fields", |_| Coded::Fields),
    ("fields in one sample", |_| Coded::FieldsInOneSample),
    ("fields and frames", |number| {
        if number % 3 == 1 {
            Coded::Frame
        } else {
            Coded::Fields
        }
    }),
    ("fields in one sample, and frames", |number| {
        if number % 4 == 2 {
            Coded::Frame
        } else {
            Coded::FieldsInOneSample
        }
    }),
];

/// Asserts that every cut of a source, made in any way, shows exactly its frames.
async fn assert_cut_as_frames(path: &Path, label: &str) {
    let work = Work::new();
    let media = work
        .open(path)
        .await
        .unwrap_or_else(|error| panic!("{label}: {error}"));
    let frames = u64::from(GROUPS * group_frames());
    let video = &media.facts.video;
    // For other containers, only FFmpeg's average over fields and frames is known before cutting.
    let is_average = media.is_remuxed() && label.contains("frames");
    if !is_average {
        assert_eq!(video.frames, frames, "{label}: {video:?}");
        assert!(
            (video.frame_rate - 25.0).abs() < 0.01 && video.constant_frame_rate,
            "{label}: {video:?}"
        );
    }
    let shown = Shown::of(path, &media);
    assert_eq!(shown.pictures.len() as u64, frames, "{label}");
    for interval in INTERVALS {
        let source = work.source(&media, interval, &shown).await;
        let (window, copy) = source.cut(interval.0..interval.1).await;
        assert_conforms(&source, &window, Way::Copy, &copy).await;
        let clip = encode(&source, &window, &copy).await;
        assert_conforms(&source, &window, Way::Encode, &clip).await;
        let why = smart_cut(&source, interval.0..interval.1).await.err();
        assert_eq!(
            why.as_deref(),
            Some("the source may be interlaced"),
            "{label}"
        );
    }
}

/// Asserts that a source is refused because times do not reveal its fields.
async fn assert_refused(path: &Path, label: &str) {
    let work = Work::new();
    let media = work.open(path).await.expect("a source");
    let error = work
        .remuxed_range(&media, (1.07, 1.33))
        .await
        .expect_err(label);
    assert_eq!(error.kind, ErrorKind::UnsupportedMedia, "{label}: {error}");
    assert!(
        error.message.contains("field-coded H.264 (PAFF)"),
        "{label}: {error}"
    );
}

#[tokio::test]
async fn two_fields_are_a_frame_whatever_the_samples_and_the_container() {
    for (label, coded) in CODED {
        let folder = Folder::new();
        let path = folder.path("source.mp4");
        std::fs::write(&path, mp4(GROUPS, coded)).expect("room");
        assert_cut_as_frames(&path, label).await;
        let input = || vec!["-i".to_owned(), path.display().to_string()];
        for (name, options) in [
            ("a.ts", ""),
            ("a.mkv", ""),
            (
                "fragments.mp4",
                "-movflags +frag_keyframe+delay_moov+default_base_moof+global_sidx",
            ),
        ] {
            let remuxed = folder.build(name, &[input(), words("-c copy"), words(options)]);
            let label = format!("{label}, {name}");
            if name == "a.mkv" && coded(0) == Coded::Fields {
                // Matroska requires both fields in one block; otherwise FFmpeg gets decode times wrong.
                assert_refused(&remuxed, &label).await;
            } else {
                assert_cut_as_frames(&remuxed, &label).await;
            }
        }
    }
}

#[tokio::test]
async fn joined_copies_of_fields_have_the_frames_of_their_parts() {
    for (label, coded) in CODED {
        let file = bytes::Bytes::from(mp4(GROUPS, coded));
        let movie = Movie::read(&file).await.expect("a source");
        let cuts = [(1.07, 1.33), (0.0, 0.4), (3.0, 4.0)];
        let cuts = cuts.map(|(start, end)| (&movie, start, end));
        let join = mp4_cut::Join::of(&cuts).expect("a clip");
        let parts = futures::TryStreamExt::try_collect::<Vec<_>>(join.stream(vec![&file; 3], 3));
        let clip = bytes::Bytes::from(parts.await.expect("its bytes").concat());
        let folder = Folder::new();
        std::fs::write(folder.path("joined.mp4"), &clip).expect("room");
        let pieces = Movie::read_edits(&clip).await.expect("a clip of ours");
        let frames: Vec<_> = pieces
            .iter()
            .map(|piece| piece.facts.video.frames)
            .collect();
        assert_eq!(frames, [6, 10, 25], "{label}");
        let shown = decode_pictures(&folder.path("joined.mp4"));
        assert_eq!(shown.len(), 41, "{label}");
    }
}

#[tokio::test]
async fn field_at_the_end_whose_other_is_missing_is_no_frame() {
    let last = GROUPS * group_frames() - 1;
    let file = mp4(GROUPS, |number| {
        if number == last {
            Coded::OneField
        } else {
            Coded::Fields
        }
    });
    let folder = Folder::new();
    let path = folder.path("source.mp4");
    std::fs::write(&path, file).expect("room");
    let source = Source::decode(&path).await;
    let frames = source.movie.facts.video.frames;
    assert_eq!(
        (frames, source.pictures.len() as u64),
        (u64::from(last), frames)
    );
    let (window, copy) = source.cut(3.6..4.0).await;
    assert_conforms(&source, &window, Way::Copy, &copy).await;
    let clip = encode(&source, &window, &copy).await;
    assert_conforms(&source, &window, Way::Encode, &clip).await;
}

#[tokio::test]
async fn fields_that_times_do_not_tell_from_frames_are_refused_by_name() {
    let mut file = mp4(GROUPS, |number| {
        if number % 2 == 0 {
            Coded::Fields
        } else {
            Coded::Frame
        }
    });
    let at = boxes::first(&file, *b"stts");
    let end = at + boxes::size(&file, at);
    for entry in file[at + 16..end].chunks_mut(8) {
        entry[4..].copy_from_slice(&1800_u32.to_be_bytes());
    }
    let error = Movie::read(&bytes::Bytes::from(file))
        .await
        .expect_err("fields");
    let error = ClipError::from(error);
    assert_eq!(error.kind, ErrorKind::UnsupportedMedia);
    assert!(
        error.message.contains("field-coded H.264 (PAFF)"),
        "{error}"
    );
}
