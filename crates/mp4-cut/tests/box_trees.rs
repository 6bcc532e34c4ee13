//! The boxes of written files, and the numbers in them.

#[path = "common/boxes.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod boxes;
#[path = "common/synthetic.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod synthetic;

use boxes::{Detail, tree};
use bytes::Bytes;
use expect_test::{ExpectFile, expect_file};
use futures_executor::block_on;
use futures_util::{Stream, TryStreamExt};
use mp4_cut::{Join, Movie, Result};
use synthetic::{Edit, Sample, Shape, Track};

/// Two seconds: groups of five pictures, two of which are decoded after the picture that follows them, and late audio.
fn source() -> Shape {
    let pictures = (0..10).map(|index| Sample {
        bytes: 100 + index,
        duration: 3000,
        offset: [3000, 9000, 0, 0, 3000][index as usize % 5],
        sync: index % 5 == 0,
    });
    let sounds = (0..80).map(|_| Sample {
        bytes: 20,
        duration: 1024,
        offset: 0,
        sync: true,
    });
    let video = Track {
        is_video: true,
        timescale: 15_000,
        samples: pictures.collect(),
        samples_per_chunk: 3,
        edit: Some(Edit {
            empty: 0,
            media_time: 3000,
        }),
    };
    let audio = Track {
        is_video: false,
        timescale: 48_000,
        samples: sounds.collect(),
        samples_per_chunk: 20,
        edit: Some(Edit {
            empty: 100,
            media_time: 1024,
        }),
    };
    Shape {
        tracks: vec![video, audio],
        gap: 0,
        wide_offsets: false,
    }
}

fn file_of(stream: impl Stream<Item = Result<Bytes>>) -> Vec<u8> {
    let file = block_on(stream.try_fold(Vec::new(), async |whole, part| {
        Ok([whole, part.to_vec()].concat())
    }));
    file.expect("the source's bytes")
}

fn assert_boxes_of(stream: impl Stream<Item = Result<Bytes>>, expected: &ExpectFile) {
    expected.assert_eq(&tree(&file_of(stream), Detail::All));
}

#[test]
fn snapshot_of_a_window_from_within_a_group() {
    let file = Bytes::from(source().file());
    let movie = block_on(Movie::read(&file)).expect("a source");
    let window = movie.window(0.4, 1.4).expect("an interval");
    assert_boxes_of(
        window.stream(&file, 1),
        &expect_file!["snapshots/window.txt"],
    );
}

#[test]
fn snapshot_of_a_window_from_a_keyframe_to_the_end() {
    let file = Bytes::from(source().file_with_index_last());
    let movie = block_on(Movie::read(&file)).expect("a source");
    let window = movie.window(1.0, 2.0).expect("an interval");
    assert_boxes_of(
        window.stream(&file, 1),
        &expect_file!["snapshots/window_from_a_keyframe.txt"],
    );
}

#[test]
fn snapshot_of_joined_windows() {
    let file = Bytes::from(source().file());
    let movie = block_on(Movie::read(&file)).expect("a source");
    let join = Join::of(&[(&movie, 1.0, 2.0), (&movie, 0.4, 1.2)]).expect("one format");
    let stream = join.stream(vec![&file, &file], 1);
    assert_boxes_of(stream, &expect_file!["snapshots/join.txt"]);
}

/// The sound in front of a joint is prolonged until the sound behind it begins.
#[test]
fn joined_windows_whose_sound_begins_late_are_read_piece_by_piece() {
    let mut shape = source();
    shape.tracks[1].edit = Some(Edit {
        empty: 400,
        media_time: 0,
    });
    let file = Bytes::from(shape.file());
    let movie = block_on(Movie::read(&file)).expect("a source");
    let join = Join::of(&[(&movie, 1.0, 2.0), (&movie, 0.0, 1.2)]).expect("one format");
    let joined = Bytes::from(file_of(join.stream(vec![&file, &file], 1)));
    let pieces = block_on(Movie::read_edits(&joined)).expect("a clip of ours");
    assert_eq!(pieces.len(), 2);
}
