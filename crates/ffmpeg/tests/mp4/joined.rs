//! Intervals of several sources, joined without encoding.

use crate::common::source::HEVC;
use crate::common::{
    boxes,
    ffmpeg::{
        Folder, Picture, decode, decode_pictures, level, load, pictures, probe, read, sample_at,
        sound, words,
    },
    property::{assert_for_any, runtime},
    source::{TIME_TOLERANCE, microseconds},
};
use bytes::Bytes;
use futures::TryStreamExt;
use model::{ClipError, ErrorKind};
use mp4_cut::{Join, Movie};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

const H264: &str = "-c:v libx264 -preset veryfast -crf 30 -pix_fmt yuv420p -bf 2 -g 30";
const AAC: &str = "-c:a aac -b:a 96k -shortest";
/// Cuts of two four-second sources: to the end, from within a GOP, from a keyframe.
const CUTS: [(usize, f64, f64); 4] = [
    (0, 2.52, 4.0),
    (1, 1.0, 2.28),
    (1, 3.04, 3.2),
    (0, 1.2, 2.0),
];

struct Sources {
    folder: Folder,
    paths: Vec<PathBuf>,
    bytes: Vec<Bytes>,
    movies: Vec<Movie>,
}

impl Sources {
    async fn build(options: [&str; 2]) -> Self {
        let folder = Folder::new();
        let build = |(index, options): (usize, &str)| {
            folder.build(
                &format!("{index}.mp4"),
                &[pictures("25", 4), sound(4), words(options)],
            )
        };
        let paths: Vec<_> = options.into_iter().enumerate().map(build).collect();
        let bytes: Vec<_> = paths.iter().map(|path| load(path)).collect();
        let movies = vec![read(&bytes[0]).await, read(&bytes[1]).await];
        Self {
            folder,
            paths,
            bytes,
            movies,
        }
    }

    async fn join(&self, cuts: &[(usize, f64, f64)]) -> Result<PathBuf, ClipError> {
        let intervals: Vec<_> = cuts
            .iter()
            .map(|(source, start, end)| (&self.movies[*source], *start, *end))
            .collect();
        let join = Join::of(&intervals)?;
        let sources: Vec<_> = cuts
            .iter()
            .map(|(source, ..)| &self.bytes[*source])
            .collect();
        join.check_joints(&sources).await?;
        let whole = join
            .stream(sources, 3)
            .try_fold(Vec::new(), async |whole, part| {
                Ok([whole, part.to_vec()].concat())
            });
        let whole = whole.await.expect("the sources' bytes");
        assert_eq!(whole.len() as u64, join.bytes);
        let path = self.folder.path("joined.mp4");
        std::fs::write(&path, whole).expect("room for a clip");
        Ok(path)
    }

    async fn refusal(options: [&str; 2]) -> String {
        let error = Self::build(options)
            .await
            .join(&CUTS)
            .await
            .expect_err("the formats differ");
        assert_eq!(error.kind, ErrorKind::InvalidRequest);
        error.message
    }
}

fn options(rest: &str) -> String {
    format!("{H264} {AAC} {rest}")
}

/// What players show of `cuts`, at their times in the joined clip.
fn expected(shown: &[Vec<Picture>], cuts: &[(usize, f64, f64)]) -> Vec<Picture> {
    let mut begin = 0;
    let mut expected = Vec::new();
    for (source, start, end) in cuts {
        let (start, end) = (microseconds(*start), microseconds(*end));
        let within = shown[*source].iter().filter(|picture| {
            (start - TIME_TOLERANCE..end - TIME_TOLERANCE).contains(&picture.time)
        });
        expected.extend(within.map(|picture| Picture {
            time: picture.time - start + begin,
            ..picture.clone()
        }));
        begin += end - start;
    }
    expected
}

fn assert_shows(clip: &Path, expected: &[Picture]) {
    let found = decode_pictures(clip);
    let hashes = |pictures: &[Picture]| {
        pictures
            .iter()
            .map(|picture| picture.hash.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(hashes(&found), hashes(expected));
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found.time - expected.time).abs() <= 50,
            "shown at {} µs, not {}",
            found.time,
            expected.time
        );
    }
}

#[tokio::test]
async fn joined_cuts_of_open_groups_of_hevc_show_all_their_pictures() {
    let folder = Folder::new();
    let open = "keyint=50:min-keyint=50:scenecut=0:open-gop=1";
    for slices in ["", ":slices=2", ":repeat-headers=1 -tag:v hev1"] {
        let parameters = words(&format!("-x265-params log-level=error:{open}{slices}"));
        let path = folder.build("open.mp4", &[pictures("25", 12), words(HEVC), parameters]);
        let bytes = load(&path);
        let sources = Sources {
            movies: vec![read(&bytes).await],
            bytes: vec![bytes],
            paths: vec![path.clone()],
            folder: Folder::new(),
        };
        // From within GOPs, from leading pictures, and from a keyframe.
        let cuts = [
            (3.72, 5.2),
            (10.8, 11.6),
            (1.92, 2.6),
            (4.0, 4.4),
            (3.96, 4.4),
        ];
        let cuts = cuts.map(|(start, end)| (0, start, end));
        let joined = sources.join(&cuts).await.expect("a clip");
        let shown = [decode_pictures(&path)];
        let expected = expected(&shown, &cuts);
        assert_eq!(expected.len(), 37 + 20 + 17 + 10 + 11);
        assert_shows(&joined, &expected);
        assert_eq!(decode(&joined, false).remarks, "");
        let types = keyframe_types(&joined);
        let broken_links = types.iter().filter(|kind| (16..=18).contains(*kind));
        // Two parts begin without one: the first, and one at the source's first picture.
        assert_eq!(broken_links.count(), cuts.len() - 2);
    }
}

/// The types of the slices of a file's HEVC keyframes (ITU-T H.265, table 7-1): 16 to 18 are broken links (BLA).
fn keyframe_types(path: &Path) -> Vec<u8> {
    let file = load(path);
    let packets = probe(
        path,
        "-ignore_editlist 1 -select_streams v -show_entries packet=pos,flags",
    );
    let keyframes = packets.lines().filter_map(|line| {
        let (at, flags) = line.split_once(',')?;
        flags.starts_with('K').then(|| at.parse::<usize>())
    });
    let slice_type = |mut at: usize| {
        loop {
            let kind = file[at + 4] >> 1 & 0x3f;
            if kind < 32 {
                return kind;
            }
            at += 4 + boxes::size(&file, at);
        }
    };
    keyframes
        .map(|at| slice_type(at.expect("a place")))
        .collect()
}

#[tokio::test]
async fn joined_cuts_of_vvc_are_right_or_refused_by_name() {
    let folder = Folder::new();
    for (refresh, is_joined) in [("idr", true), ("cra", false)] {
        let codec = format!(
            "-c:v libvvenc -preset faster -qp 40 -period 1 -pix_fmt yuv420p10le \
             -vvenc-params DecodingRefreshType={refresh}"
        );
        let path = folder.build("vvc.mp4", &[pictures("32", 5), words(&codec)]);
        let bytes = load(&path);
        let sources = Sources {
            movies: vec![read(&bytes).await],
            bytes: vec![bytes],
            paths: vec![path.clone()],
            folder: Folder::new(),
        };
        assert_eq!(sources.movies[0].facts.video.codec, "vvc");
        let cuts = [(0, 1.5, 2.75), (0, 3.25, 4.0), (0, 1.0, 1.5)];
        match sources.join(&cuts).await {
            Ok(joined) => {
                assert!(is_joined);
                assert_shows(&joined, &expected(&[decode_pictures(&path)], &cuts));
            }
            Err(error) => {
                assert!(
                    !is_joined && error.message.contains("no IDR picture"),
                    "{error}"
                );
            }
        }
    }
}

#[tokio::test]
async fn joined_cuts_show_exactly_their_pictures_one_after_the_other() {
    let sources = Sources::build([&options(""), &options("-vf negate -b:a 64k")]).await;
    let joined = sources.join(&CUTS).await.expect("a clip");
    let shown: Vec<_> = sources
        .paths
        .iter()
        .map(|path| decode_pictures(path))
        .collect();
    let (found, expected) = (decode_pictures(&joined), expected(&shown, &CUTS));
    let hashes = |pictures: &[Picture]| {
        pictures
            .iter()
            .map(|picture| picture.hash.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(hashes(&found), hashes(&expected));
    for (found, expected) in found.iter().zip(&expected) {
        assert!(
            (found.time - expected.time).abs() <= 50,
            "shown at {} µs, not {}",
            found.time,
            expected.time
        );
    }
    let pieces = Movie::read_edits(&load(&joined))
        .await
        .expect("a clip of ours");
    let facts: Vec<_> = pieces
        .iter()
        .map(|piece| piece.facts.video.frames)
        .collect();
    assert_eq!(facts, [37, 32, 4, 20]);
    let seconds: f64 = pieces
        .iter()
        .map(|piece| piece.facts.duration_seconds)
        .sum();
    assert!((seconds - 3.72).abs() < 0.001, "{seconds}");
    let error = Movie::read(&load(&joined))
        .await
        .expect_err("several pieces");
    assert_eq!(ClipError::from(error).kind, ErrorKind::UnsupportedMedia);
}

/// How many joins are tried.
const JOINS: u32 = 12;

/// Pairs of sources that differ in composition delay and in how many pictures are reordered.
const PAIRS: [[&str; 2]; 4] = [
    ["-bf 3 -x264-params b-pyramid=normal", "-vf negate"],
    ["-bf 0 -g 12", "-bf 0 -bsf:v setts=pts=PTS+3:dts=DTS"],
    ["-g 250", "-g 250 -vf negate -bsf:v setts=pts=PTS+4:dts=DTS"],
    [
        "-bf 3 -x264-params b-pyramid=normal",
        "-bf 3 -movflags +negative_cts_offsets -x264-params b-pyramid=normal",
    ],
];

#[test]
fn any_cuts_that_are_joined_show_exactly_their_pictures() {
    let runtime = runtime();
    let pairs = PAIRS.map(|pair| {
        let sources = runtime.block_on(Sources::build(
            pair.map(options).each_ref().map(|options| &options[..]),
        ));
        let shown: Vec<_> = sources
            .paths
            .iter()
            .map(|path| decode_pictures(path))
            .collect();
        (sources, shown)
    });
    let cut = (0..2_usize, 0.0..3.9, 0.0..1.0_f64);
    let values = (0..PAIRS.len(), prop::collection::vec(cut, 2..7));
    assert_for_any(JOINS, &values, async |(pair, cuts): (usize, Vec<_>)| {
        let (sources, shown) = &pairs[pair];
        let mut snapped = Vec::new();
        let mut frames = Vec::new();
        for (source, start, length) in cuts {
            // Pictures of some begin late.
            let start = f64::max(start, sources.movies[source].facts.video.start_seconds);
            let end = start + 0.1 + length * length * (3.9 - start);
            let window = sources.movies[source]
                .window(start, end)
                .expect("an interval");
            frames.push(window.facts.frames);
            snapped.push((source, window.facts.start_seconds, window.facts.end_seconds));
        }
        let joined = sources.join(&snapped).await.expect("a clip");
        let label = format!("{:?} {snapped:?}", PAIRS[pair]);
        let pieces = Movie::read_edits(&load(&joined))
            .await
            .expect("a clip of ours");
        let found: Vec<_> = pieces
            .iter()
            .map(|piece| piece.facts.video.frames)
            .collect();
        assert_eq!(found, frames, "{label}");
        let (found, expected) = (decode_pictures(&joined), expected(shown, &snapped));
        assert_eq!(found.len(), expected.len(), "{label}");
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_eq!(found.hash, expected.hash, "picture {index}, {label}");
            assert!(
                (found.time - expected.time).abs() <= TIME_TOLERANCE * 2,
                "picture {index}, {label}"
            );
        }
    });
}

#[tokio::test]
async fn sound_of_joined_cuts_stays_with_their_pictures() {
    let sources = Sources::build([&options(""), &options("-af volume=0")]).await;
    let joined = sources.join(&CUTS).await.expect("a clip");
    let sound = decode(&joined, true).sound;
    // Loud, silent, silent, loud, with boundaries accurate to two packets.
    let level = |from: f64, to: f64| level(&sound, from, to);
    assert!(level(0.1, 1.44) > 100.0);
    assert!(level(1.53, 2.87) < 5.0, "{}", level(1.53, 2.87));
    assert!(level(2.97, 3.7) > 100.0);
    assert!(
        sound.len().abs_diff(sample_at(3.72)) < 2048,
        "{}",
        sound.len()
    );
}

/// Decoders that hold pictures back would order them by counts from two different intervals.
#[tokio::test]
async fn cut_that_begins_with_no_idr_picture_is_not_joined_to_another_without_encoding() {
    let open =
        "-bf 3 -g 25 -keyint_min 25 -sc_threshold 0 -x264-params open-gop=1:b-pyramid=normal";
    let sources = Sources::build([&options(open), &options(open)]).await;
    let error = sources.join(&[(0, 0.5, 0.8), (1, 2.2, 2.8)]).await;
    let error = error.expect_err("no IDR picture");
    assert_eq!(error.kind, ErrorKind::InvalidRequest);
    assert!(
        error.message.ends_with(
            "no IDR picture, and decoders cannot go on with another; with \"exact\" they can be"
        ),
        "{error}"
    );
    // The first picture of a source is an IDR picture.
    let cuts = [(0, 2.2, 2.8), (1, 0.2, 0.6)];
    let joined = sources.join(&cuts).await.expect("a clip");
    let shown: Vec<_> = sources
        .paths
        .iter()
        .map(|path| decode_pictures(path))
        .collect();
    assert_shows(&joined, &expected(&shown, &cuts));
}

#[tokio::test]
async fn cuts_of_different_formats_are_not_joined_without_encoding() {
    let sound = Sources::refusal([&options(""), &format!("{H264} -an")]).await;
    assert!(sound.starts_with(
        "cut: segments[1] cannot be joined to segments[0] without encoding, because it has no sound"
    ));
    let size = Sources::refusal([&options(""), &options("-vf scale=160:90")]).await;
    assert!(
        size.contains("because its pictures are coded differently; with \"exact\" they can be"),
        "{size}"
    );
    let rate = Sources::refusal([&options(""), &options("-ar 44100")]).await;
    assert!(rate.contains("its sound is coded differently"), "{rate}");
    let codec = Sources::refusal([&options(""), &options("-c:a ac3")]).await;
    assert!(codec.contains("its sound is ac3, not aac"), "{codec}");
}
