//! Recordings whose indexes were read: when their pictures are shown, and what of them a window needs.

use super::{Coverage, Interval, Piece, pieces};
use crate::{
    ClipError, ErrorKind,
    mp4::Movie,
    plan::{Plan, PlannedSegment, ProbedSource},
    source::PinnedObject,
    timestamp::clock,
};

/// A recording whose index was read.
#[derive(Debug, Clone)]
pub struct Recording {
    /// The recording.
    pub object: PinnedObject,
    /// What it holds.
    pub movie: Movie,
    /// When its second 0 was, in milliseconds since 1970.
    pub start_ms: i64,
}

impl Recording {
    /// When its pictures are shown.
    #[must_use]
    pub fn interval(&self) -> Interval {
        let video = &self.movie.facts.video;
        let shown_at = |seconds: f64| self.start_ms + milliseconds(seconds);
        Interval {
            start_ms: shown_at(video.start_seconds),
            end_ms: shown_at(video.start_seconds + video.duration_seconds),
        }
    }

    fn frame_seconds(&self) -> f64 {
        1.0 / self.movie.facts.video.frame_rate
    }
}

/// What recordings cover of a window. A gap that is shorter than a frame, or that may be no more than what their keys
/// leave open, is none.
#[must_use]
pub fn coverage(window: Interval, recordings: &[Recording], precision_ms: i64) -> Coverage {
    let frames = recordings.iter().map(|recording| milliseconds(recording.frame_seconds()));
    let tolerance_ms = precision_ms + frames.max().unwrap_or(0);
    Coverage::of(window, &pieces(window, &intervals(recordings)), tolerance_ms)
}

/// Cuts what a window needs of each recording, on its frames.
///
/// # Errors
/// `InvalidRequest` for a window without a frame, and whatever cutting a source raises.
pub fn plan(window: Interval, recordings: &[Recording], coverage: Coverage) -> Result<Plan, ClipError> {
    let mut plan = Plan { sources: Vec::new(), segments: Vec::new(), coverage: Some(coverage), watermark: None };
    for Piece { recording, interval } in pieces(window, &intervals(recordings)) {
        let recording = &recordings[recording];
        // What begins in the second half of the last frame begins, to the nearest frame, behind it.
        if recording.interval().end_ms - interval.start_ms < milliseconds(recording.frame_seconds() / 2.0) {
            continue;
        }
        let Recording { object, movie, start_ms } = recording;
        match movie.window(seconds(interval.start_ms - start_ms), seconds(interval.end_ms - start_ms)) {
            Ok(window) => {
                plan.segments.push(PlannedSegment { source: plan.sources.len(), window: window.facts, splice: None });
                plan.sources.push(ProbedSource { object: object.clone(), facts: movie.facts.clone() });
            }
            // A piece that is shorter than a frame may hold none.
            Err(error) if error.kind == ErrorKind::InvalidRequest => {}
            Err(error) => return Err(error),
        }
    }
    if plan.segments.is_empty() {
        let (start, end) = (clock(window.start_ms), clock(window.end_ms));
        let message = format!("endTimestampInMs: no frame was recorded between {start} and {end}");
        return Err(ClipError::invalid_request(message));
    }
    Ok(plan)
}

fn intervals(recordings: &[Recording]) -> Vec<Interval> {
    recordings.iter().map(Recording::interval).collect()
}

#[expect(clippy::cast_precision_loss, reason = "within a recording")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

#[expect(clippy::cast_possible_truncation, reason = "saturates")]
fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}
