//! Joined smart cuts of several intervals, compared with what `FFmpeg` decodes from their sources.

use crate::common::{
    conform::{Way, assert_all_conform},
    ffmpeg::{Folder, decode, level, load, pictures, read, sound, words},
    kinds::footage,
    property::{assert_for_any, runtime},
    smart::{MadeCut, smart_cuts},
    source::{AAC, H264, HEVC, Source, clip_of},
};
use crate::packets::{Packet, assert_holds_only, packets};
use model::clip_spec::ClipSpec;
use proptest::prelude::*;
use serde_json::json;
use std::{
    ops::Range,
    path::{Path, PathBuf},
};

/// An interval of a source, given by the source's index.
type Interval = (usize, Range<f64>);

/// Sources and what players show of them.
struct Sources {
    list: Vec<Source>,
    /// Where they are.
    _folder: Folder,
}

impl Sources {
    async fn of(folder: Folder, paths: &[PathBuf]) -> Self {
        let mut list = Vec::new();
        for path in paths {
            list.push(Source::decode(path).await);
        }
        Self {
            list,
            _folder: folder,
        }
    }

    /// Four-second sources, each made with its options.
    async fn build(rate: &str, options: &[&str]) -> Self {
        let folder = Folder::new();
        let build = |(index, options): (usize, &&str)| {
            let name = format!("{index}.mp4");
            folder.build(
                &name,
                &[
                    pictures(rate, 4),
                    sound(4),
                    words(H264),
                    words(AAC),
                    words(options),
                ],
            )
        };
        let paths: Vec<_> = options.iter().enumerate().map(build).collect();
        Self::of(folder, &paths).await
    }

    fn cuts(&self, intervals: &[Interval]) -> Vec<(&Source, Range<f64>)> {
        intervals
            .iter()
            .map(|(source, interval)| (&self.list[*source], interval.clone()))
            .collect()
    }

    /// The specification of a clip of these intervals, as all functions expect it.
    fn spec(&self, intervals: &[Interval]) -> ClipSpec {
        let sources: Vec<_> = self.list.iter().map(|source| &source.movie.facts).collect();
        let window = |(source, interval): &Interval| {
            (
                *source,
                self.list[*source]
                    .movie
                    .window(interval.start, interval.end)
                    .expect("an interval")
                    .facts,
            )
        };
        clip_of(
            &sources,
            &intervals.iter().map(window).collect::<Vec<_>>(),
            &json!({}),
        )
        .1
    }

    async fn join(&self, intervals: &[Interval]) -> Result<MadeCut, String> {
        smart_cuts(&self.cuts(intervals), self.spec(intervals).audio).await
    }

    /// Asserts that the smart cut of these intervals is exact and matches its specification.
    async fn assert_joined_is_exact(&self, intervals: &[Interval]) -> MadeCut {
        let spec = self.spec(intervals);
        assert!(spec.preserves_timing, "{spec:?}");
        let clip = self.join(intervals).await.expect("a smart cut");
        let cuts = intervals
            .iter()
            .zip(&clip.windows)
            .map(|((source, _), window)| (&self.list[*source], window));
        assert_all_conform(
            &cuts.collect::<Vec<_>>(),
            Way::Smart(clip.facts),
            &clip.path,
        )
        .await;
        assert_eq!(
            spec.frames(),
            clip.windows
                .iter()
                .map(|window| window.facts.frames)
                .sum::<u64>()
        );
        let seconds: f64 = clip
            .windows
            .iter()
            .map(|window| window.facts.duration_seconds)
            .sum();
        assert!((spec.seconds() - seconds).abs() < 0.001, "{spec:?}");
        let delivered = read(&load(&clip.path)).await.facts;
        assert!(
            delivered.duration_seconds < seconds + 0.001,
            "the audio is too long: {delivered:?}"
        );
        clip
    }
}

/// Intervals of a four-second source with a keyframe every second: across keyframes, without one, from one, to the end,
/// out of order, within the last B-frames of a GOP.
fn intervals() -> Vec<Interval> {
    [
        0.3..2.45,
        1.1..1.6,
        1.0..2.0,
        3.3..4.0,
        0.0..1.04,
        2.51..3.49,
    ]
    .into_iter()
    .map(|interval| (0, interval))
    .collect()
}

#[tokio::test]
async fn joined_smart_cuts_of_one_source_are_exact() {
    for (rate, options) in [
        ("30", ""),
        ("25", "-bf 3 -g 25 -x264-params b-pyramid=normal"),
        ("25", "-bf 0 -g 25 -profile:v baseline"),
        ("30000/1001", "-g 24"),
        ("30", "-video_track_timescale 1000"),
        ("30", "-movflags +negative_cts_offsets -g 12"),
        ("30", "-g 1 -ar 44100"),
    ] {
        let clip = Sources::build(rate, &[options])
            .await
            .assert_joined_is_exact(&intervals())
            .await;
        assert!(
            clip.facts.copied_seconds > 2.0,
            "{options}: {:?}",
            clip.facts
        );
    }
}

#[tokio::test]
async fn joined_smart_cuts_of_hevc_are_exact() {
    let folder = Folder::new();
    let parameters =
        "-x265-params log-level=error:keyint=30:min-keyint=30:scenecut=0:bframes=3:open-gop=1";
    let path = folder.build(
        "source.mp4",
        &[
            pictures("30", 4),
            sound(4),
            words(HEVC),
            words(parameters),
            words(AAC),
        ],
    );
    let sources = Sources::of(folder, &[path]).await;
    let clip = sources.assert_joined_is_exact(&intervals()).await;
    assert!(clip.facts.copied_seconds > 1.5, "{:?}", clip.facts);
}

#[tokio::test]
async fn joined_smart_cuts_of_hevc_that_repeats_its_parameter_sets_are_exact() {
    let groups = "log-level=error:keyint=30:min-keyint=30:scenecut=0:bframes=3:b-adapt=0";
    let hrd = "hrd=1:aud=1:vbv-maxrate=2000:vbv-bufsize=2000";
    for (parameters, options, is_hvc1) in [
        ("open-gop=1", "", true),
        ("open-gop=0", "", false),
        ("open-gop=1", "-pix_fmt yuv420p10le", false),
        (hrd, "", true),
    ] {
        let codec = format!(
            "{HEVC} -x265-params {groups}:repeat-headers=1:{parameters} {options} -tag:v hev1"
        );
        let folder = Folder::new();
        let paths = ["null", "negate"].map(|filter| {
            let options = words(&format!("-vf {filter} {codec} {AAC}"));
            let arguments = [pictures("30", 4), sound(4), options];
            let path = folder.build(&format!("{filter}.mp4"), &arguments);
            if is_hvc1 {
                call_hvc1(&path);
            }
            path
        });
        let sources = Sources::of(folder, &paths).await;
        let intervals = [
            (0, 0.3..2.45),
            (1, 1.1..1.6),
            (1, 0.9..3.49),
            (0, 1.0..2.0),
            (1, 3.3..4.0),
            (0, 0.0..1.04),
        ];
        let clip = sources.assert_joined_is_exact(&intervals).await;
        let copied = clip.facts.copied_seconds;
        assert!(copied > 3.0, "{parameters} {options}: {copied} s");
    }
}

/// Renames a file's `hev1` to `hvc1`, as cameras do that repeat parameter sets in samples. `FFmpeg` drops the repeated
/// sets when it writes `hvc1` itself.
fn call_hvc1(path: &Path) {
    let mut file = load(path).to_vec();
    let kind = file.windows(4).rposition(|bytes| bytes == b"hev1");
    let at = kind.expect("a sample entry");
    file[at..at + 4].copy_from_slice(b"hvc1");
    std::fs::write(path, file).expect("room");
}

/// The `hvcC` box of a file.
fn configuration(file: &[u8]) -> Range<usize> {
    let kind = file.windows(4).position(|bytes| bytes == b"hvcC");
    let start = kind.expect("a box") - 4;
    let bytes = u32::from_be_bytes(file[start..start + 4].try_into().expect("four bytes"));
    start..start + bytes as usize
}

#[tokio::test]
async fn repeated_parameter_sets_that_differ_from_cut_to_cut_are_not_joined() {
    let folder = Folder::new();
    let paths = [0, 1].map(|hiding| {
        let parameters = format!(
            "-x265-params log-level=error:info=0:keyint=30:min-keyint=30:scenecut=0:repeat-headers=1:signhide={hiding} -tag:v hev1"
        );
        let arguments = [pictures("30", 4), words(HEVC), words(&parameters)];
        let path = folder.build(&format!("{hiding}.mp4"), &arguments);
        call_hvc1(&path);
        path
    });
    // Both sample entries have the parameter sets that are in the first file's samples.
    let [first, second] = [0, 1].map(|index| load(&paths[index]).to_vec());
    let [own, other] = [&second, &first].map(|file| configuration(file));
    assert_ne!(second[own.clone()], first[other.clone()]);
    let lying = [&second[..own.start], &first[other], &second[own.end..]].concat();
    assert_eq!(lying.len(), second.len());
    std::fs::write(&paths[1], lying).expect("room");
    let sources = Sources::of(folder, &paths).await;
    let alone = sources.join(&[(0, 0.5..2.5), (0, 0.5..2.5)]).await;
    assert!(alone.is_ok(), "{:?}", alone.err());
    let joined = sources.join(&[(0, 0.5..2.5), (1, 0.5..2.5)]).await;
    let why = "segments[1] cannot be joined to segments[0] without encoding, because its pictures are coded differently";
    assert_eq!(joined.err().as_deref(), Some(why));
}

#[tokio::test]
async fn joined_smart_cuts_of_several_sources_are_exact() {
    // In the second source, pictures have two frames more composition delay.
    let late = "-vf negate -bsf:v setts=pts=PTS+2:dts=DTS";
    let sources = Sources::build("30", &["", late]).await;
    for (first, second) in [(0, 1), (1, 0)] {
        let intervals = [
            (first, 0.5..2.5),
            (second, 1.3..3.2),
            (second, 0.1..0.4),
            (first, 0.0..1.9),
        ];
        sources.assert_joined_is_exact(&intervals).await;
    }
}

/// How many joins are tried.
const JOINS: u32 = 3;

#[test]
fn any_smart_cuts_that_are_joined_are_exact() {
    let runtime = runtime();
    let late = "-vf negate -bsf:v setts=pts=PTS+2:dts=DTS";
    let pyramid = "-bf 3 -g 25 -x264-params b-pyramid=normal";
    let pairs = [
        ["", late],
        [pyramid, "-bf 3 -g 12"],
        ["-bf 0 -g 12", "-g 20"],
    ]
    .map(|pair| runtime.block_on(Sources::build("30", &pair)));
    let cut = (0..2_usize, 0.0..3.5, 0.0..1.0_f64);
    let values = (0..pairs.len(), prop::collection::vec(cut, 2..5));
    assert_for_any(JOINS, &values, async |(pair, cuts): (usize, Vec<_>)| {
        let interval = |(source, start, length): (usize, f64, f64)| {
            (source, start..start + 0.1 + length * (3.9 - start))
        };
        let intervals: Vec<Interval> = cuts.into_iter().map(interval).collect();
        let sources: &Sources = &pairs[pair];
        if sources.join(&intervals).await.is_ok() {
            sources.assert_joined_is_exact(&intervals).await;
        }
    });
}

#[tokio::test]
async fn cut_without_sound_is_silent() {
    let folder = Folder::new();
    let build = |name: &str, more: &[Vec<String>]| {
        folder.build(name, &[&[pictures("30", 4)], more, &[words(H264)]].concat())
    };
    let loud = build("loud.mp4", &[sound(4), words(AAC)]);
    let silent = build("silent.mp4", &[]);
    let sources = Sources::of(folder, &[silent, loud]).await;
    let clip = sources
        .assert_joined_is_exact(&[(0, 0.4..2.4), (1, 0.5..2.0), (0, 1.0..2.0)])
        .await;
    let sound = decode(&clip.path, true).sound;
    let level = |from: f64, to: f64| level(&sound, from, to);
    assert!(
        level(0.0, 1.96) < 5.0 && level(3.55, 4.5) < 5.0,
        "{} {}",
        level(0.0, 1.96),
        level(3.55, 4.5)
    );
    assert!(level(2.01, 3.49) > 100.0);
}

#[tokio::test]
async fn sound_does_not_drift_over_fifty_cuts() {
    let sources = Sources::build("30000/1001", &["-g 15 -ar 44100"]).await;
    let cut = |index: u32| {
        (
            0,
            f64::from(index % 7) * 0.4..f64::from(index % 7) * 0.4 + 0.7,
        )
    };
    sources
        .assert_joined_is_exact(&(0..50).map(cut).collect::<Vec<_>>())
        .await;
}

#[tokio::test]
async fn cuts_that_cannot_be_joined_by_copies_say_why() {
    let why = async |options: [&str; 2], intervals: [Range<f64>; 2]| {
        let [first, second] = intervals;
        Sources::build("30", &options)
            .await
            .join(&[(0, first), (1, second)])
            .await
            .err()
            .unwrap_or_default()
    };
    let said = why(["", "-pix_fmt yuv422p"], [0.5..2.5, 0.5..2.5]).await;
    assert_eq!(
        said,
        "segments[1] cannot be joined to segments[0] without encoding, because its pictures are coded differently"
    );
    let said = why(["", HEVC], [0.5..2.5, 0.5..2.5]).await;
    assert!(said.ends_with("its pictures are hevc, not h264"), "{said}");
    let said = why(["", "-video_track_timescale 90000"], [0.5..2.5, 0.5..2.5]).await;
    assert!(
        said.ends_with("its pictures are timed in units of 1/90000 s, not 1/15360 s"),
        "{said}"
    );
    let said = why(["", ""], [0.2..0.8, 2.1..2.9]).await;
    assert_eq!(said, "the clip has no keyframe that a copy can begin with");
}

#[tokio::test]
async fn cuts_whose_frames_lie_on_no_common_grid_are_timed_anew() {
    let intervals = [(0, 0.5..1.5), (1, 0.5..1.5)];
    let keeps = async |sources: Sources| sources.spec(&intervals).preserves_timing;
    assert!(keeps(Sources::build("30", &["", ""]).await).await);
    assert!(!keeps(Sources::build("30", &["", "-r 25"]).await).await);
    assert!(!keeps(Sources::build("30", &["", "-vf scale=160:90"]).await).await);
    let irregular = "-vf select=not(mod(n\\,7))+not(mod(n\\,3)) -fps_mode passthrough";
    assert!(!keeps(Sources::build("30", &[irregular, irregular]).await).await);
}

/// How many sources are made.
const SOURCES: u32 = 6;

#[test]
fn joined_smart_cuts_of_any_intervals_are_exact() {
    let rates = prop::sample::select(vec![
        "24000/1001",
        "25",
        "30000/1001",
        "30",
        "50",
        "60000/1001",
    ]);
    let options = (1_u32..60, 0_u32..5, 1_u32..5).prop_map(|(group, b_frames, references)| {
        format!("-g {group} -bf {b_frames} -refs {references}")
    });
    let interval = (0.0..0.9, 0.1..1.0)
        .prop_map(|(start, length)| (0, start * 4.0..(start + (1.0 - start) * length) * 4.0));
    let values = (rates, options, prop::collection::vec(interval, 2..6));
    assert_for_any(
        SOURCES,
        &values,
        async |(rate, options, intervals): (&str, String, Vec<Interval>)| {
            let sources = Sources::build(rate, &[&options]).await;
            match sources.join(&intervals).await {
                Ok(_) => {
                    let clip = sources.assert_joined_is_exact(&intervals).await;
                    let is_shown = |packet: &Packet| {
                        clip.windows.iter().any(|window| packet.is_shown_in(window))
                    };
                    assert_holds_only(&clip.path, &packets(&sources.list[0].path), is_shown);
                }
                Err(why) => assert!(why.contains("keyframe"), "{options}: {why}"),
            }
        },
    );
}

#[tokio::test]
async fn joined_smart_cuts_of_real_footage_are_exact() {
    for path in footage() {
        let sources = Sources::of(Folder::new(), &[path]).await;
        let intervals: Vec<_> = sources.list[0]
            .intervals()
            .map(|interval| (0, interval))
            .collect();
        sources.assert_joined_is_exact(&intervals).await;
    }
}
