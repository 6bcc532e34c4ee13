//! A camera's recordings in clock time, down to the shown frames.

#[path = "../../mp4-cut/tests/common/synthetic.rs"]
#[allow(dead_code, reason = "the other half is for other tests")]
mod synthetic;

use bytes::Bytes;
use futures::executor::block_on;
use model::{
    ClipError, ErrorKind,
    plan::{PinnedObject, Plan, PlannedSegment, ProbedSource},
    recordings::{Interval, Recording, coverage, cuts, no_frame, pieces, unless_empty},
};
use mp4_cut::Movie;
use proptest::prelude::*;
use synthetic::{Sample, Shape, Track};

/// When the camera took its frame 0, in milliseconds since 1970.
const BASE_MS: i64 = 1_533_224_400_123;

/// A camera that takes a frame every `duration` of `timescale`.
#[derive(Debug, Clone, Copy)]
struct Camera {
    timescale: u32,
    duration: u32,
}

impl Camera {
    fn frame_ms(self) -> f64 {
        f64::from(self.duration) * 1000.0 / f64::from(self.timescale)
    }

    /// A recording of `frames` frames from `first` on, named to the millisecond after its first frame.
    fn record(self, first: u32, frames: u32) -> (Recording, Movie) {
        let sample = |index: u32| Sample {
            bytes: 8,
            duration: self.duration,
            offset: 0,
            sync: index.is_multiple_of(7),
        };
        let samples = (0..frames).map(sample).collect();
        let track = Track {
            is_video: true,
            timescale: self.timescale,
            samples,
            samples_per_chunk: 4,
            edit: None,
        };
        let file = Bytes::from(
            Shape {
                tracks: vec![track],
                gap: 0,
                wide_offsets: false,
            }
            .file(),
        );
        #[expect(clippy::cast_possible_truncation, reason = "small numbers")]
        let start_ms = BASE_MS + (f64::from(first) * self.frame_ms()) as i64;
        let movie = block_on(Movie::read(&file)).expect("a source");
        let recording = Recording {
            video: movie.facts.video.clone(),
            start_ms,
        };
        (recording, movie)
    }

    /// The camera's frames that a plan shows, in order. `firsts` are the first frames of its recordings.
    fn shown(self, plan: &Plan, firsts: &[u32]) -> Vec<u64> {
        let frames = |segment: &PlannedSegment| {
            let first = u64::from(firsts[recording_of(plan, segment)]);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "small numbers"
            )]
            let skipped = (segment.window.start_seconds * 1000.0 / self.frame_ms()).round() as u64;
            first + skipped..first + skipped + segment.window.frames
        };
        plan.segments.iter().flat_map(frames).collect()
    }
}

/// The plan of a window of recordings whose keys have whole milliseconds.
fn planned(
    window: Interval,
    recordings: &[Recording],
    movies: &[Movie],
) -> Result<Plan, ClipError> {
    let mut plan = Plan {
        sources: Vec::new(),
        segments: Vec::new(),
        coverage: Some(coverage(window, recordings, 1)),
        watermark: None,
        encodes_hevc_whole: false,
    };
    for cut in cuts(window, recordings) {
        let (start, end) = cut.interval_seconds;
        let planned = movies[cut.recording].window(start, end);
        let Some(planned) = unless_empty(planned.map_err(ClipError::from))? else {
            continue;
        };
        plan.segments.push(PlannedSegment {
            source: plan.sources.len(),
            window: planned.facts,
            smart_cut: None,
            lead_seconds: None,
        });
        plan.sources.push(ProbedSource {
            object: PinnedObject {
                bucket: "archive".into(),
                key: cut.recording.to_string(),
                etag: "e".into(),
                bytes: 1,
            },
            facts: movies[cut.recording].facts.clone().into(),
        });
    }
    if plan.segments.is_empty() {
        return Err(no_frame(window));
    }
    Ok(plan)
}

/// The index of a segment's recording, which is its key.
fn recording_of(plan: &Plan, segment: &PlannedSegment) -> usize {
    let key = &plan.sources[segment.source].object.key;
    key.parse().expect("a number")
}

fn camera() -> impl Strategy<Value = Camera> {
    prop::sample::select(vec![
        (25, 1),
        (30_000, 1001),
        (90_000, 3000),
        (12_800, 512),
        (60_000, 1001),
        (120, 1),
    ])
    .prop_map(|(timescale, duration)| Camera {
        timescale,
        duration,
    })
}

#[test]
fn recording_that_seems_to_end_a_millisecond_later_shows_no_frame_again() {
    let camera = Camera {
        timescale: 90_000,
        duration: 3000,
    };
    let (recordings, movies): (Vec<_>, Vec<_>) = [camera.record(55, 19), camera.record(72, 2)]
        .into_iter()
        .unzip();
    let window = Interval {
        start_ms: BASE_MS + 1000,
        end_ms: BASE_MS + 3000,
    };
    assert_eq!(
        recordings[1].interval().end_ms - recordings[0].interval().end_ms,
        1,
        "keys have whole milliseconds"
    );
    let plan = planned(window, &recordings, &movies).expect("a plan");
    assert_eq!(camera.shown(&plan, &[55, 72]), (55..74).collect::<Vec<_>>());
}

/// Milliseconds since the camera began.
fn since_base(ms: i64) -> f64 {
    i32::try_from(ms - BASE_MS).expect("small numbers").into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_recorded_frame_of_a_window_is_shown_once_and_at_its_time(
        camera in camera(),
        recorded in prop::collection::vec((0_u32..200, 1_u32..80), 1..5),
        from in -500_i64..8000,
        length in 1_i64..4000,
    ) {
        let window = Interval { start_ms: BASE_MS + from, end_ms: BASE_MS + from + length };
        let (recordings, movies): (Vec<_>, Vec<_>) =
            recorded.iter().map(|(first, frames)| camera.record(*first, *frames)).unzip();
        let intervals: Vec<_> = recordings.iter().map(Recording::interval).collect();
        let pieces = pieces(window, &intervals);
        let (start, end, frame_ms) = (since_base(window.start_ms), since_base(window.end_ms), camera.frame_ms());
        let plan = match planned(window, &recordings, &movies) {
            Ok(plan) => plan,
            // A cut shorter than a frame shows nothing.
            Err(error) => {
                prop_assert_eq!(error.kind, ErrorKind::InvalidRequest);
                let longest = pieces.iter().map(|piece| piece.interval.duration_ms()).max().unwrap_or(0);
                prop_assert!(since_base(BASE_MS + longest) <= frame_ms + 2.0);
                return Ok(());
            }
        };
        let firsts: Vec<_> = recorded.iter().map(|(first, _)| *first).collect();
        let shown = camera.shown(&plan, &firsts);
        prop_assert!(shown.is_sorted_by(|one, next| one < next), "a frame is shown twice: {:?}", shown);

        for frame in 0..300 {
            let (begins, ends) = (f64::from(frame) * frame_ms, f64::from(frame + 1) * frame_ms);
            let is_recorded = recorded.iter().any(|(first, frames)| (*first..first + frames).contains(&frame));
            let must_be_shown = is_recorded && begins > start + frame_ms && ends + frame_ms < end;
            let can_be_shown = is_recorded && ends + frame_ms >= start && begins <= end + frame_ms;
            let is_shown = shown.contains(&frame.into());
            prop_assert!(is_shown || !must_be_shown, "frame {} is lost: {:?}", frame, shown);
            prop_assert!(can_be_shown || !is_shown, "frame {} is not of the window: {:?}", frame, shown);
        }
        for segment in &plan.segments {
            let recording = &recordings[recording_of(&plan, segment)];
            prop_assert_eq!(&recording.video, &plan.sources[segment.source].facts.video);
            let began = since_base(recording.start_ms) + segment.window.start_seconds * 1000.0;
            let off = pieces.iter().map(|piece| (since_base(piece.interval.start_ms) - began).abs());
            let least = off.fold(f64::MAX, f64::min);
            prop_assert!(least <= frame_ms, "it begins {} ms off", least);
        }
    }
}
