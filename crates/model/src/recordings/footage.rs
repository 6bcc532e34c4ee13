//! Recordings that were opened: when their pictures are shown, and what of them a window needs.

use super::{Coverage, Interval, Piece, pieces};
use crate::{
    ClipError, ErrorKind,
    plan::{PinnedObject, Plan, PlannedSegment, ProbedSource, SourceFacts},
    timestamp::clock,
};

/// A recording that was opened.
#[derive(Debug, Clone)]
pub struct Recording {
    /// The recording.
    pub object: PinnedObject,
    /// What it holds.
    pub facts: SourceFacts,
    /// When its second 0 was, in milliseconds since 1970.
    pub start_ms: i64,
}

impl Recording {
    /// When its pictures are shown.
    #[must_use]
    pub fn interval(&self) -> Interval {
        let video = &self.facts.video;
        let shown_at = |seconds: f64| self.start_ms + milliseconds(seconds);
        Interval {
            start_ms: shown_at(video.start_seconds),
            end_ms: shown_at(video.start_seconds + video.duration_seconds),
        }
    }

    fn frame_seconds(&self) -> f64 {
        1.0 / self.facts.video.frame_rate
    }
}

/// What recordings cover of a window. A gap that is shorter than a frame, or that may be no more than what their keys
/// leave open, is none.
#[must_use]
pub fn coverage(window: Interval, recordings: &[Recording], precision_ms: i64) -> Coverage {
    let frames = recordings
        .iter()
        .map(|recording| milliseconds(recording.frame_seconds()));
    let tolerance_ms = precision_ms + frames.max().unwrap_or(0);
    Coverage::of(
        window,
        &pieces(window, &intervals(recordings)),
        tolerance_ms,
    )
}

/// Plans what a window needs of each recording. `cut` plans a cut of a recording, which is named by its place, from a
/// second of it up to, not including, another.
///
/// # Errors
/// `InvalidRequest` for a window without a frame, and whatever `cut` raises.
pub async fn plan(
    window: Interval,
    recordings: &[Recording],
    coverage: Coverage,
    cut: impl AsyncFn(usize, (f64, f64)) -> Result<PlannedSegment, ClipError>,
) -> Result<Plan, ClipError> {
    let mut plan = Plan {
        sources: Vec::new(),
        segments: Vec::new(),
        coverage: Some(coverage),
        watermark: None,
    };
    for Piece {
        recording: number,
        interval,
    } in pieces(window, &intervals(recordings))
    {
        let recording = &recordings[number];
        // What begins in the second half of the last frame begins, to the nearest frame, behind it.
        if recording.interval().end_ms - interval.start_ms
            < milliseconds(recording.frame_seconds() / 2.0)
        {
            continue;
        }
        let Recording {
            object,
            facts,
            start_ms,
        } = recording;
        match cut(
            number,
            (
                seconds(interval.start_ms - start_ms),
                seconds(interval.end_ms - start_ms),
            ),
        )
        .await
        {
            Ok(segment) => {
                plan.segments.push(PlannedSegment {
                    source: plan.sources.len(),
                    ..segment
                });
                plan.sources.push(ProbedSource {
                    object: object.clone(),
                    facts: facts.clone(),
                });
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
