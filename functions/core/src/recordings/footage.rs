//! Recordings whose indexes were read: when their pictures are shown, and what of them a window needs.

use super::{Coverage, Interval, Piece, pieces};
use crate::{
    ClipError, ErrorKind,
    mp4::Movie,
    plan::{Plan, PlannedSegment, ProbedSource},
    source::PinnedObject,
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
}

/// What recordings cover of a window. A gap that is shorter than a frame, or that may be no more than what their keys
/// leave open, is none.
#[must_use]
pub fn coverage(window: Interval, recordings: &[Recording], precision_ms: i64) -> Coverage {
    let frames = recordings.iter().map(|recording| milliseconds(1.0 / recording.movie.facts.video.frame_rate));
    let tolerance_ms = precision_ms + frames.max().unwrap_or(0);
    Coverage::of(window, &pieces(window, &intervals(recordings)), tolerance_ms)
}

/// Cuts what a window needs of each recording, on its frames.
///
/// # Errors
/// `InvalidRequest` for a window without a frame, and whatever cutting a source raises.
pub fn plan(window: Interval, recordings: &[Recording], coverage: Coverage) -> Result<Plan, ClipError> {
    let mut plan = Plan { sources: Vec::new(), segments: Vec::new(), coverage: Some(coverage) };
    let mut without_frame = None;
    for Piece { recording, interval } in pieces(window, &intervals(recordings)) {
        let Recording { object, movie, start_ms } = &recordings[recording];
        match movie.window(seconds(interval.start_ms - start_ms), seconds(interval.end_ms - start_ms)) {
            Ok(window) => {
                plan.segments.push(PlannedSegment { source: plan.sources.len(), window: window.facts });
                plan.sources.push(ProbedSource { object: object.clone(), facts: movie.facts.clone() });
            }
            // A piece that is shorter than a frame may hold none.
            Err(error) if error.kind == ErrorKind::InvalidRequest => without_frame = Some(error),
            Err(error) => return Err(error),
        }
    }
    match without_frame {
        Some(error) if plan.segments.is_empty() => Err(error),
        _ => Ok(plan),
    }
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
