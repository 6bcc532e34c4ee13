//! Arithmetic of intervals: which part of each recording a window needs, and which parts of the window are covered.
//!
//! Consecutive recordings meet to within a frame and the precision of their keys, so a shorter gap does not count.
//! Where they overlap, the one that began first is shown to its end. If the end of a window is missing, it is not ready
//! yet, unless a newer recording exists or an hour has passed since the longest one could have ended. Everything else
//! that is missing is a gap.

use crate::text::{shorten, visible};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

/// Once a gap's reason is this long, nothing more is added, in bytes.
const MAX_REASON_BYTES: usize = 1000;

/// An interval of the clock in milliseconds since 1970, UTC; the end is exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Interval {
    /// The first moment.
    #[serde(rename = "startTimestampInMs")]
    pub start_ms: i64,
    /// The first moment that is no longer part of it.
    #[serde(rename = "endTimestampInMs")]
    pub end_ms: i64,
}

/// The part of a recording that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Index of the recording.
    pub recording: usize,
    /// What is shown of it, on the clock.
    pub interval: Interval,
}

/// Which parts of a window recordings cover. Both lists are in order, and together they are exactly the window.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// What is there.
    pub covered: Vec<Interval>,
    /// What no recording shows.
    pub missing: Vec<Gap>,
}

/// What no recording shows of a window.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Gap {
    /// When.
    #[serde(flatten)]
    pub interval: Interval,
    /// Why, for a person, where a recording is there that cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl From<Interval> for Gap {
    fn from(interval: Interval) -> Self {
        Self {
            interval,
            reason: None,
        }
    }
}

impl Interval {
    /// How long it lasts.
    #[must_use]
    pub fn duration_ms(self) -> i64 {
        self.end_ms - self.start_ms
    }

    fn overlaps(self, other: Self) -> bool {
        self.start_ms < other.end_ms && other.start_ms < self.end_ms
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.end_ms <= self.start_ms
    }
}

/// What to show of each recording for the window, in order and without repetition: if recordings overlap, the one that
/// began first is shown to its end.
#[must_use]
pub fn pieces(window: Interval, recordings: &[Interval]) -> Vec<Piece> {
    let mut order: Vec<usize> = (0..recordings.len()).collect();
    order.sort_by_key(|index| {
        (
            recordings[*index].start_ms,
            Reverse(recordings[*index].end_ms),
        )
    });
    let mut shown_until = window.start_ms;
    let mut pieces = Vec::new();
    for recording in order {
        let Interval { start_ms, end_ms } = recordings[recording];
        let interval = Interval {
            start_ms: start_ms.max(shown_until),
            end_ms: end_ms.min(window.end_ms),
        };
        shown_until = shown_until.max(interval.end_ms);
        if !interval.is_empty() {
            pieces.push(Piece {
                recording,
                interval,
            });
        }
    }
    pieces
}

impl Coverage {
    /// The parts of the window that the pieces cover. A gap next to a piece that is shorter than `tolerance_ms` does
    /// not count: no frame is missing there, or the recordings' keys are too imprecise to tell.
    #[must_use]
    pub fn of(window: Interval, pieces: &[Piece], tolerance_ms: i64) -> Self {
        let (mut covered, mut missing) = (Vec::new(), Vec::new());
        let mut at = window.start_ms;
        let end = Interval {
            start_ms: window.end_ms,
            end_ms: window.end_ms,
        };
        for interval in pieces.iter().map(|piece| piece.interval).chain([end]) {
            let gap = Interval {
                start_ms: at,
                end_ms: interval.start_ms,
            };
            if pieces.is_empty() || gap.duration_ms() >= tolerance_ms {
                add(&mut missing, gap);
            } else {
                add(&mut covered, gap);
            }
            add(&mut covered, interval);
            at = interval.end_ms;
        }
        let missing = missing.into_iter().map(Gap::from).collect();
        Self { covered, missing }
    }

    /// Adds why something is missing: an unreadable recording would have shown part of this interval.
    pub fn explain(&mut self, unreadable: Interval, why: &str) {
        let why = visible(&shorten(why, MAX_REASON_BYTES));
        let gaps = self
            .missing
            .iter_mut()
            .filter(|gap| gap.interval.overlaps(unreadable));
        for gap in gaps {
            match &mut gap.reason {
                None => gap.reason = Some(why.clone()),
                Some(reason) if reason.len() < MAX_REASON_BYTES => {
                    reason.push_str("; ");
                    reason.push_str(&why);
                }
                Some(_) => {}
            }
        }
    }
}

/// Adds the next interval, extending the last one if it continues that.
fn add(intervals: &mut Vec<Interval>, next: Interval) {
    match intervals.last_mut() {
        _ if next.is_empty() => {}
        Some(last) if last.end_ms == next.start_ms => last.end_ms = next.end_ms,
        _ => intervals.push(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl PartialEq<Interval> for Gap {
        fn eq(&self, interval: &Interval) -> bool {
            self.interval == *interval && self.reason.is_none()
        }
    }

    fn interval(start_ms: i64, end_ms: i64) -> Interval {
        Interval { start_ms, end_ms }
    }

    fn covered(window: Interval, recordings: &[Interval], tolerance_ms: i64) -> Coverage {
        Coverage::of(window, &pieces(window, recordings), tolerance_ms)
    }

    #[test]
    fn recording_that_began_long_before_the_window_covers_it() {
        let window = interval(500, 600);
        let recordings = [interval(0, 1000), interval(400, 450)];
        assert_eq!(
            pieces(window, &recordings),
            [Piece {
                recording: 0,
                interval: window
            }]
        );
        assert_eq!(
            covered(window, &recordings, 1),
            Coverage {
                covered: vec![window],
                missing: vec![]
            }
        );
    }

    #[test]
    fn overlapping_recordings_are_joined_where_the_first_one_ends() {
        let shown = pieces(interval(50, 250), &[interval(100, 300), interval(0, 120)]);
        let of = |recording, start, end| Piece {
            recording,
            interval: interval(start, end),
        };
        assert_eq!(shown, [of(1, 50, 120), of(0, 120, 250)]);
    }

    #[test]
    fn window_before_the_first_recording_and_into_a_gap_says_what_is_missing() {
        let coverage = covered(
            interval(0, 1000),
            &[interval(200, 400), interval(700, 800)],
            34,
        );
        assert_eq!(coverage.covered, [interval(200, 400), interval(700, 800)]);
        assert_eq!(
            coverage.missing,
            [interval(0, 200), interval(400, 700), interval(800, 1000)]
        );
    }

    #[test]
    fn gap_shorter_than_a_frame_is_none() {
        let coverage = covered(
            interval(0, 1000),
            &[interval(10, 480), interval(500, 1000)],
            34,
        );
        assert_eq!(
            coverage,
            Coverage {
                covered: vec![interval(0, 1000)],
                missing: vec![]
            }
        );
        let coverage = covered(
            interval(0, 1000),
            &[interval(0, 466), interval(500, 1000)],
            34,
        );
        assert_eq!(coverage.missing, [interval(466, 500)]);
    }

    #[test]
    fn window_shorter_than_a_frame_is_missing_where_there_is_no_recording() {
        assert_eq!(covered(interval(0, 10), &[], 34).missing, [interval(0, 10)]);
    }

    #[test]
    fn gap_says_which_recordings_in_it_cannot_be_read() {
        let mut coverage = covered(interval(0, 900), &[interval(300, 600)], 34);
        coverage.explain(interval(100, 300), "one is empty");
        coverage.explain(interval(0, 50), "one is cut short");
        coverage.explain(interval(400, 500), "covered by another");
        let reasons: Vec<_> = coverage
            .missing
            .iter()
            .map(|gap| gap.reason.as_deref())
            .collect();
        assert_eq!(reasons, [Some("one is empty; one is cut short"), None]);
        let gap = serde_json::to_value(&coverage.missing[1]).expect("JSON");
        let bare = serde_json::json!({"startTimestampInMs": 600, "endTimestampInMs": 900});
        assert_eq!(gap, bare);
    }

    fn intervals() -> impl Strategy<Value = Interval> {
        (0_i64..300, 0_i64..120).prop_map(|(start, length)| interval(start, start + length))
    }

    proptest! {
        #[test]
        fn pieces_show_every_recorded_moment_of_the_window_once(
            window in intervals(),
            recordings in prop::collection::vec(intervals(), 0..8),
        ) {
            let pieces = pieces(window, &recordings);
            let within = |at: i64, interval: &Interval| interval.start_ms <= at && at < interval.end_ms;
            for at in 0..420 {
                let shown = pieces.iter().filter(|piece| within(at, &piece.interval)).count();
                let recorded = within(at, &window) && recordings.iter().any(|recording| within(at, recording));
                prop_assert_eq!(shown, usize::from(recorded), "at {}", at);
            }
            for piece in &pieces {
                prop_assert!(!piece.interval.is_empty());
                let recording = recordings[piece.recording];
                prop_assert!(recording.start_ms <= piece.interval.start_ms && piece.interval.end_ms <= recording.end_ms);
            }
            prop_assert!(pieces.is_sorted_by(|one, next| one.interval.end_ms <= next.interval.start_ms));
        }

        #[test]
        fn covered_and_missing_are_exactly_the_window(
            window in intervals(),
            recordings in prop::collection::vec(intervals(), 0..8),
            tolerance_ms in 0_i64..40,
        ) {
            let Coverage { covered, missing } = covered(window, &recordings, tolerance_ms);
            let missing: Vec<_> = missing.into_iter().map(|gap| gap.interval).collect();
            let mut all = [covered.clone(), missing.clone()].concat();
            all.sort_by_key(|interval| interval.start_ms);
            prop_assert!(all.iter().all(|interval| !interval.is_empty()));
            prop_assert!(all.windows(2).all(|two| two[0].end_ms == two[1].start_ms));
            prop_assert_eq!(all.iter().map(|interval| interval.duration_ms()).sum::<i64>(), window.duration_ms());
            if let (Some(first), Some(last)) = (all.first(), all.last()) {
                prop_assert_eq!((first.start_ms, last.end_ms), (window.start_ms, window.end_ms));
            }
            // Adjacent intervals of one list would be merged.
            prop_assert!([covered, missing.clone()].iter().all(|list| list.is_sorted_by(|one, next| one.end_ms < next.start_ms)));
            for gap in missing {
                prop_assert!(recordings.iter().all(|one| one.end_ms <= gap.start_ms || gap.end_ms <= one.start_ms || one.is_empty()));
            }
        }
    }
}
