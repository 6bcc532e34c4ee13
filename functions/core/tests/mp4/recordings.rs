//! A camera's recordings on the clock, down to the frames that are shown of them.

use crate::synthetic::{Sample, Shape, Track};
use bytes::Bytes;
use clipflow_core::{
    ErrorKind,
    mp4::Movie,
    plan::Plan,
    recordings::{Interval, Recording, coverage, pieces, plan},
    source::PinnedObject,
};
use futures::executor::block_on;
use proptest::prelude::*;

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
    fn record(self, first: u32, frames: u32) -> Recording {
        let sample =
            |index: u32| Sample { bytes: 8, duration: self.duration, offset: 0, sync: index.is_multiple_of(7) };
        let samples = (0..frames).map(sample).collect();
        let track = Track { is_video: true, timescale: self.timescale, samples, samples_per_chunk: 4, edit: None };
        let file = Bytes::from(Shape { tracks: vec![track], gap: 0, wide_offsets: false }.file());
        #[expect(clippy::cast_possible_truncation, reason = "small numbers")]
        let start_ms = BASE_MS + (f64::from(first) * self.frame_ms()) as i64;
        Recording {
            object: PinnedObject { bucket: "archive".into(), key: first.to_string(), etag: "e".into(), bytes: 1 },
            movie: block_on(Movie::read(&file)).expect("a source"),
            start_ms,
        }
    }

    /// The camera's frames that a plan shows, in order.
    fn shown(self, plan: &Plan) -> Vec<u64> {
        let frames = |segment: &clipflow_core::plan::PlannedSegment| {
            let first: u64 = plan.sources[segment.source].object.key.parse().expect("a number");
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
            let skipped = (segment.window.start_seconds * 1000.0 / self.frame_ms()).round() as u64;
            first + skipped..first + skipped + segment.window.frames
        };
        plan.segments.iter().flat_map(frames).collect()
    }
}

fn camera() -> impl Strategy<Value = Camera> {
    prop::sample::select(vec![(25, 1), (30_000, 1001), (90_000, 3000), (12_800, 512), (60_000, 1001), (120, 1)])
        .prop_map(|(timescale, duration)| Camera { timescale, duration })
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
        let recordings: Vec<_> = recorded.iter().map(|(first, frames)| camera.record(*first, *frames)).collect();
        let intervals: Vec<_> = recordings.iter().map(Recording::interval).collect();
        let pieces = pieces(window, &intervals);
        let plan = match plan(window, &recordings, coverage(window, &recordings, 1)) {
            Ok(plan) => plan,
            // Nothing is shown for less than a frame.
            Err(error) => {
                prop_assert_eq!(error.kind, ErrorKind::InvalidRequest);
                prop_assert!(pieces.iter().all(|piece| piece.interval.duration_ms() as f64 <= camera.frame_ms() + 2.0));
                return Ok(());
            }
        };
        let shown = camera.shown(&plan);
        prop_assert!(shown.is_sorted_by(|one, next| one < next), "a frame is shown twice: {:?}", shown);

        // What is in the middle of the window and was recorded must be there; what is not, must not.
        let time = |frame: u64| BASE_MS as f64 + frame as f64 * camera.frame_ms();
        for frame in 0..300 {
            let recorded = recorded.iter().any(|(first, frames)| (u64::from(*first)..u64::from(first + frames)).contains(&frame));
            let (start, end) = (time(frame), time(frame + 1));
            let is_within = start > window.start_ms as f64 + camera.frame_ms() && end + camera.frame_ms() < window.end_ms as f64;
            let is_outside = end + camera.frame_ms() < window.start_ms as f64 || start > window.end_ms as f64 + camera.frame_ms();
            prop_assert!(!(recorded && is_within) || shown.contains(&frame), "frame {} is lost: {:?}", frame, shown);
            prop_assert!(!(is_outside || !recorded) || !shown.contains(&frame), "frame {} is not of the window", frame);
        }
        for (segment, source) in plan.segments.iter().map(|segment| (segment, &plan.sources[segment.source])) {
            let index = recordings.iter().position(|one| one.object == source.object && one.movie.facts == source.facts);
            let recording = &recordings[index.expect("a recording")];
            let began = recording.start_ms as f64 + segment.window.start_seconds * 1000.0;
            let nearest = pieces.iter().map(|piece| (piece.interval.start_ms as f64 - began).abs()).fold(f64::MAX, f64::min);
            prop_assert!(nearest <= camera.frame_ms(), "it begins {} ms off", nearest);
        }
    }
}
