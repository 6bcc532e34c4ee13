//! Decodes a little of the clip and, if that fails, finds out whether the source is to blame.
//!
//! Pictures that we encoded must decode. A copied picture may be damaged in its source. It is considered so if `FFmpeg`
//! cannot decode it, or a neighbour, there either.

use crate::{
    found::Found,
    task::{Deps, Input},
};
use aws::source::S3Source;
use ffmpeg::{
    check::{Checked, Clip},
    damage::{self, TOLERANCE_SECONDS},
    process::Limits,
    remux::{Looked, Media, Remuxer, Samples},
    scratch::Scratch,
};
use model::{
    ClipError, ErrorKind,
    damage::Damaged,
    outcome::EngineName,
    plan::PlannedSegment,
    request::{Cut, Format},
};
use mp4_cut::io::CachedSource;
use std::{
    ops::Range,
    time::{Duration, Instant},
};

/// How long checking the sources may take.
const SOURCES_TIME: Duration = Duration::from_secs(25);
/// How much of a source is checked on both sides of a damaged picture, in seconds.
const AROUND_SECONDS: f64 = 0.25;
/// How far a picture of a source may be from its time in the clip, as a fraction of a frame.
const NEAR_FRAMES: f64 = 0.4;

/// A clip to decode.
pub struct Decoding<'a> {
    pub deps: &'a Deps,
    pub input: &'a Input,
    pub found: &'a Found,
    pub scratch: &'a Scratch,
}

/// Where the pictures of a segment are shown in the clip, and what they were cut from.
struct Part<'a> {
    segment: &'a PlannedSegment,
    shown: Range<f64>,
}

impl Decoding<'_> {
    /// Decodes the clip around its joints and seams, and its first and its last second. Returns the damage in its
    /// sources, and why something was not decoded.
    ///
    /// # Errors
    /// `DeliveryMismatch` if a picture does not decode although it does in its source; `UnsupportedMedia` if the first
    /// picture does not decode there either, or if what was encoded of a damaged source does not decode.
    pub async fn check(
        &self,
        file: Samples<S3Source>,
    ) -> Result<(Damaged, Option<String>), ClipError> {
        let Found {
            shown,
            leads,
            frames_behind,
            video_codec,
            ..
        } = self.found;
        let clip = Clip {
            file: CachedSource::new(file),
            demuxer: match self.input.request.format {
                Format::Webm => "matroska",
                Format::Mp4 | Format::Hevc | Format::Source => "mov",
            },
            codec: video_codec,
            shown,
            leads,
            frames_behind: *frames_behind,
            end_seconds: self.found.end_seconds(),
            known: &[],
        };
        let parts = self.parts();
        let checked = clip
            .check(&self.seams(&parts), &self.deps.ffmpeg, self.scratch.path())
            .await?;
        self.blame(&checked, &parts).await?;
        damage::check_first(&checked.flaws, &checked.complaints)?;
        let mut damaged = clip.damaged(&checked);
        // Audio is copied only together with pictures.
        damaged.audio &= self.input.request.cut == Cut::Copy;
        // What was encoded from a damaged source decodes; `trim` has already reported its damage.
        if let Some(encoded) = self.input.clip.damaged.clone() {
            damaged = damaged.with(encoded);
        }
        Ok((damaged, checked.undecoded))
    }

    fn parts(&self) -> Vec<Part<'_>> {
        let speed = self.input.request.edits.speed.unwrap_or(1.0);
        let mut end = self.found.shown.first().map_or(0.0, |first| first.seconds);
        let segments = self.input.probe.segments.iter();
        segments
            .map(|segment| {
                let start = end;
                end += segment.window.duration_seconds / speed;
                Part {
                    segment,
                    shown: start..end,
                }
            })
            .collect()
    }

    /// Where one part ends and another begins; in smart cuts also where the copy begins, at a part's first or second
    /// keyframe, and where it ends, at the last one.
    fn seams(&self, parts: &[Part<'_>]) -> Vec<f64> {
        let mut seams: Vec<_> = parts.iter().skip(1).map(|part| part.shown.start).collect();
        for part in parts.iter().filter(|part| part.segment.smart_cut.is_some()) {
            let keyframes: Vec<_> = self
                .found
                .shown
                .iter()
                .filter(|frame| frame.is_keyframe && part.shown.contains(&frame.seconds))
                .map(|frame| frame.seconds)
                .collect();
            seams.extend(keyframes.get(1));
            seams.extend(keyframes.last());
        }
        seams
    }

    /// Determines whose fault it is that pictures do not decode.
    async fn blame(&self, checked: &Checked, parts: &[Part<'_>]) -> Result<(), ClipError> {
        let begun = Instant::now();
        for part in parts {
            let shown_at = |index: usize| self.found.shown[index].seconds;
            let times: Vec<f64> = checked
                .flaws
                .iter()
                .map(|flaw| shown_at(flaw.index))
                .filter(|seconds| part.shown.contains(seconds))
                .collect();
            let start = part.shown.start;
            let is_start = |index: &usize| (shown_at(*index) - start).abs() < TOLERANCE_SECONDS;
            let is_after_damage = checked.after_damage.iter().any(is_start);
            let after_damage = is_after_damage.then_some(start);
            let ours = |seconds| {
                let damaged = self.input.clip.damaged.as_ref();
                Err(undecodable(seconds, &checked.complaints, damaged))
            };
            let Some(first) = times.first().copied().or(after_damage) else {
                continue;
            };
            if !self.is_copied(part) {
                return ours(first);
            }
            let time = || SOURCES_TIME.saturating_sub(begun.elapsed());
            if !times.is_empty()
                && let Some(whole) = whole_in(self.look(part, &times, time()).await, first)?
            {
                return ours(whole);
            }
            if after_damage.is_some()
                && let Some(whole) = whole_in(self.look_before(part, time()).await, start)?
            {
                return ours(whole);
            }
        }
        Ok(())
    }

    fn is_copied(&self, part: &Part<'_>) -> bool {
        let Input {
            engine, request, ..
        } = self.input;
        engine.name == EngineName::Trim
            && (request.cut == Cut::Copy || part.segment.smart_cut.is_some())
    }

    /// The first of `times`, in seconds of the clip, whose picture decodes in its source, if the source is undamaged
    /// around it. If a source's index is wrong about its pictures, what is shown depends on where decoding begins.
    async fn look(
        &self,
        part: &Part<'_>,
        times: &[f64],
        time: Duration,
    ) -> Result<Option<f64>, ClipError> {
        let PlannedSegment { source, window, .. } = part.segment;
        let by_the_source = |seconds: f64| seconds - part.shown.start + window.start_seconds;
        let interval = (
            (by_the_source(times[0]) - AROUND_SECONDS).max(0.0),
            by_the_source(times[times.len() - 1]) + AROUND_SECONDS,
        );
        let looked = self.look_at_source(part, interval, time).await?;
        if looked.is_damaged {
            return Ok(None);
        }
        let rate = self.input.probe.sources[*source].facts.video.frame_rate;
        let near = NEAR_FRAMES / rate.max(1.0);
        let is_whole = |seconds: &&f64| {
            looked.pictures.iter().any(|picture| {
                picture.is_whole && (picture.seconds - by_the_source(**seconds)).abs() < near
            })
        };
        Ok(times.iter().find(is_whole).copied())
    }

    /// The start of the part, if the pictures that its first one is decoded from are known to be undamaged in the source:
    /// if the source does not hide them too, and if they cannot be those at the end of the part before.
    async fn look_before(&self, part: &Part<'_>, time: Duration) -> Result<Option<f64>, ClipError> {
        let window = &part.segment.window;
        let facts = &self.input.probe.sources[part.segment.source].facts;
        let is_joined = self.input.probe.segments.len() > 1;
        if window.keyframe_seconds < 0.0 || facts.pieces > 1 || is_joined {
            return Ok(None);
        }
        let interval = (window.keyframe_seconds, window.start_seconds);
        let looked = self.look_at_source(part, interval, time).await?;
        Ok((!looked.is_damaged).then_some(part.shown.start))
    }

    /// What decodes of a part's source between two of its seconds.
    async fn look_at_source(
        &self,
        part: &Part<'_>,
        interval: (f64, f64),
        time: Duration,
    ) -> Result<Looked, ClipError> {
        let PlannedSegment {
            source,
            lead_seconds,
            ..
        } = part.segment;
        let probed = &self.input.probe.sources[*source];
        let object = S3Source::pinned(self.deps.s3.clone(), probed.object.clone());
        let limits = Limits {
            time,
            file_bytes: self.deps.scratch_bytes,
        };
        let remuxer = Remuxer {
            ffmpeg: &self.deps.ffmpeg,
            scratch: self.scratch,
            limits,
            max_whole_bytes: self.deps.scratch_bytes,
        };
        let media = Box::pin(Media::reopen(object, probed.facts.clone(), remuxer)).await?;
        let look = media.look(interval, *lead_seconds, "source.mp4", remuxer);
        Box::pin(look).await
    }
}

/// The picture that was found to be whole in its source; `first` if that could not be found out, because a source that
/// cannot be checked is not known to be damaged.
fn whole_in(found: Result<Option<f64>, ClipError>, first: f64) -> Result<Option<f64>, ClipError> {
    match found {
        Err(error)
            if matches!(
                error.kind,
                ErrorKind::UnsupportedMedia | ErrorKind::TrimBudgetExceeded
            ) =>
        {
            Ok(Some(first))
        }
        found => found,
    }
}

/// The error for a picture that does not decode although it was encoded, or decodes in its source. What is encoded of a
/// source with damage can be no better than that.
fn undecodable(seconds: f64, complaints: &[String], damage: Option<&Damaged>) -> ClipError {
    let said = complaints.join("; ");
    let what = format!("the picture at {seconds:.3} s of the clip does not decode: {said}");
    match damage {
        Some(_) => ClipError::unsupported_media(format!("the source is damaged: {what}")),
        None => ClipError::delivery_mismatch(what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undecodable_picture_of_a_damaged_source_is_a_rejection_and_otherwise_our_fault() {
        let complaints = ["cabac decode of qscale diff failed".to_owned()];
        let error = |damage| undecodable(1.5, &complaints, damage);
        let damaged = Damaged {
            pictures: 3,
            ..Damaged::default()
        };
        assert_eq!(
            error(Some(&damaged)),
            ClipError::unsupported_media(
                "the source is damaged: the picture at 1.500 s of the clip does not decode: \
                 cabac decode of qscale diff failed"
            )
        );
        assert_eq!(error(None).kind, ErrorKind::DeliveryMismatch);
    }
}
