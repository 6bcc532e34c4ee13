//! Opened recordings: when their pictures are shown, and which parts of them a window needs.

use super::coverage::{Coverage, Interval, Piece, pieces};
use crate::{ClipError, ErrorKind, number::signed, timestamp::clock};
use mp4_cut::VideoFacts;

/// An opened recording.
#[derive(Debug, Clone)]
pub struct Recording {
    pub video: VideoFacts,
    /// When its second 0 was, in milliseconds since 1970.
    pub start_ms: i64,
}

impl Recording {
    /// When its pictures are shown.
    #[must_use]
    pub fn interval(&self) -> Interval {
        let video = &self.video;
        let shown_at = |seconds: f64| self.start_ms + milliseconds(seconds);
        Interval {
            start_ms: shown_at(video.start_seconds),
            end_ms: shown_at(video.start_seconds + video.duration_seconds),
        }
    }

    fn frame_seconds(&self) -> f64 {
        1.0 / self.video.frame_rate
    }
}

/// The parts of a window that recordings cover. A gap shorter than a frame, or within the precision of their keys, does
/// not count.
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

/// A cut that a window needs from a recording.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecordingCut {
    /// Index of the recording.
    pub recording: usize,
    /// Start (inclusive) and end (exclusive) of what is shown, in seconds of the recording.
    pub interval_seconds: (f64, f64),
}

/// The cuts that a window needs from recordings, in order. A cut shorter than a frame may contain none.
#[must_use]
pub fn cuts(window: Interval, recordings: &[Recording]) -> Vec<RecordingCut> {
    let mut cuts = Vec::new();
    for Piece {
        recording: number,
        interval,
    } in pieces(window, &intervals(recordings))
    {
        let recording = &recordings[number];
        let rest_ms = recording.interval().end_ms - interval.start_ms;
        // A cut that begins in the second half of the last frame is snapped to the end of that frame.
        if rest_ms < milliseconds(recording.frame_seconds() / 2.0) {
            continue;
        }
        let second = |clock_ms: i64| seconds(clock_ms - recording.start_ms);
        cuts.push(RecordingCut {
            recording: number,
            interval_seconds: (second(interval.start_ms), second(interval.end_ms)),
        });
    }
    cuts
}

/// What was planned for a cut; `None` if its recording has no frame in it.
///
/// # Errors
/// The cut's error, unless that is the reason.
pub fn unless_empty<T>(planned: Result<T, ClipError>) -> Result<Option<T>, ClipError> {
    match planned {
        Ok(planned) => Ok(Some(planned)),
        Err(error) if error.kind == ErrorKind::InvalidRequest => Ok(None),
        Err(error) => Err(error),
    }
}

/// The error for a window in which no cut has a frame.
#[must_use]
pub fn no_frame(window: Interval) -> ClipError {
    let (start, end) = (clock(window.start_ms), clock(window.end_ms));
    ClipError::invalid_request(format!(
        "endTimestampInMs: no frame was recorded between {start} and {end}"
    ))
}

fn intervals(recordings: &[Recording]) -> Vec<Interval> {
    recordings.iter().map(Recording::interval).collect()
}

#[expect(clippy::cast_precision_loss, reason = "within a recording")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

fn milliseconds(seconds: f64) -> i64 {
    signed(seconds * 1000.0)
}
