//! Edit lists of several pieces, of a video and of its audio. Both are cut piece by piece, so they must be in step.
//!
//! Editors write the same pieces for both, but for empty edits in front, rounding to the movie's timescale, the end of the
//! last piece, edits that go on where the one before ends, and shreds of sound behind the video.

use crate::{
    error::Error,
    read::{
        samples::SampleTable,
        track::{EditSegment, Track},
    },
    time::Time,
};

/// The most edits of a source that are taken apart.
pub(crate) const MAX_EDITS: usize = 50;
/// The most edits of a track that are compared with those of another.
const MAX_EDITS_COMPARED: usize = 1000;
/// How far the joint of two pieces may be from that of the other track, in seconds: two packets of sound.
const JOINT_SECONDS: f64 = 0.05;
/// The longest edit of sound that is left out where the video has no piece for it, in seconds.
const SHRED_SECONDS: f64 = 0.1;
/// How far behind another's end an edit may begin that goes on from there, as a part of a second: a unit of `QuickTime`'s
/// usual timescale, 1/600 s, and some.
const ROUNDING: u32 = 400;

impl EditSegment {
    /// When it is shown, on the movie's timeline.
    fn start(&self) -> Time {
        self.presentation(self.media_start)
    }

    fn seconds(&self) -> f64 {
        let time = Time {
            ticks: self.media_end.saturating_sub(self.media_start),
            timescale: self.timescale,
        };
        time.seconds()
    }

    /// Whether it shows the media behind that of `before`, behind it.
    fn goes_on_from(&self, before: &Self) -> bool {
        let shown_for = before.media_end.saturating_sub(before.media_start);
        let shown_until = before.shown_at.saturating_add(shown_for);
        let most = u64::from(self.timescale / ROUNDING) + 1;
        self.media_start.abs_diff(before.media_end) <= most
            && self.shown_at.abs_diff(shown_until) <= most
    }
}

/// Brings the edits of a video and of its audio into step. Returns whether they are.
pub(crate) fn align(video: &mut Vec<EditSegment>, audio: &mut Track) -> bool {
    if !are_in_step(video, audio) {
        merge(video, &audio.edits);
    }
    align_audio(video, audio)
}

/// Brings the edits of audio into step with those of the video. Returns whether they are.
pub(crate) fn align_audio(video: &[EditSegment], audio: &mut Track) -> bool {
    if are_in_step(video, audio) {
        return true;
    }
    merge(&mut audio.edits, video);
    while audio.edits.len() > video.len()
        && let Some(_) = audio.edits.pop_if(|last| last.seconds() <= SHRED_SECONDS)
    {}
    are_in_step(video, audio)
}

/// Why a source is refused whose tracks are not in step.
pub(crate) fn refused() -> Error {
    Error::unsupported(
        "the source has an edit list of several pieces that are not the same in all tracks, or more than 50, which is \
         not supported",
    )
}

/// Makes one of edits of which the second goes on where the first ends, where the other track has no joint.
fn merge(edits: &mut Vec<EditSegment>, other: &[EditSegment]) {
    if edits.len().max(other.len()) > MAX_EDITS_COMPARED {
        return;
    }
    edits.dedup_by(|next, last| {
        let is_joint = |edit: &EditSegment| is_near(edit.start(), next.start());
        let is_one = next.goes_on_from(last) && !other.iter().skip(1).any(is_joint);
        if is_one {
            last.media_end = next.media_end;
        }
        is_one
    });
}

fn is_near(one: Time, other: Time) -> bool {
    one.seconds_since(other).abs() <= JOINT_SECONDS
}

fn are_in_step(video: &[EditSegment], Track { edits, samples, .. }: &Track) -> bool {
    if video.len() != edits.len() || video.len() > MAX_EDITS {
        return false;
    }
    let mut joints = video.iter().zip(edits).skip(1).zip(edits);
    joints.all(|((video, audio), before)| {
        let (joint, start) = (video.start(), audio.start());
        is_near(joint, start) || joint.is_before(start) && is_held(before, joint, samples)
    })
}

/// Whether nothing begins in an edit of sound behind a time. So the edit before is prolonged in joined clips where sound
/// begins late.
fn is_held(edit: &EditSegment, from: Time, samples: &SampleTable) -> bool {
    let last = samples.sample_at(edit.media_end.saturating_sub(1));
    last <= samples.sample_at(edit.media_time(from)) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Edits of media from and to a second, shown one behind the other from a second on.
    fn edits(timescale: u32, shown_at: f64, media: &[(f64, f64)]) -> Vec<EditSegment> {
        let ticks = |seconds: f64| Time::from_seconds(seconds, timescale).ticks;
        let mut shown_at = shown_at;
        let edits = media.iter().map(|(start, end)| {
            let edit = EditSegment {
                timescale,
                shown_at: ticks(shown_at),
                media_start: ticks(*start),
                media_end: ticks(*end),
            };
            shown_at += end - start;
            edit
        });
        edits.collect()
    }

    fn video(media: &[(f64, f64)]) -> Vec<EditSegment> {
        edits(90_000, 0.0, media)
    }

    fn audio(shown_at: f64, media: &[(f64, f64)]) -> Vec<EditSegment> {
        edits(44_100, shown_at, media)
    }

    const PIECES: [(f64, f64); 2] = [(0.0, 1.2), (2.0, 3.0)];

    #[test]
    fn edits_that_go_on_are_one_where_the_other_track_has_no_joint() {
        let mut split = audio(0.0, &[(0.0, 0.5), (0.501, 1.2), (2.0, 3.0)]);
        merge(&mut split, &video(&PIECES));
        let media = |edits: &[EditSegment]| {
            let seconds = edits.iter().map(|edit| (edit.media_start, edit.media_end));
            seconds.collect::<Vec<_>>()
        };
        assert_eq!(media(&split), media(&audio(0.0, &PIECES)));
        let halves = [(0.0, 0.5), (0.5, 1.2), (2.0, 3.0)];
        let mut kept = audio(0.0, &halves);
        merge(&mut kept, &video(&halves));
        assert_eq!(media(&kept), media(&audio(0.0, &halves)));
    }

    #[test]
    fn edits_that_leave_something_out_stay_apart() {
        for media in [[(0.0, 0.5), (0.51, 1.2)], [(0.0, 0.5), (0.0, 0.5)]] {
            let mut edits = audio(0.0, &media);
            merge(&mut edits, &video(&[(0.0, 1.2)]));
            assert_eq!(edits, audio(0.0, &media));
        }
        let whole = EditSegment {
            media_end: i64::MAX,
            ..audio(0.0, &[(0.0, 1.0)])[0]
        };
        let mut edits = vec![whole, whole];
        merge(&mut edits, &[]);
        assert_eq!(edits, [whole, whole]);
    }
}
