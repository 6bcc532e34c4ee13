//! Decodes a little of a clip: around every joint and seam, and its first and its last second.
//!
//! A clip is read by ranges. At most 20 s of its pictures are checked, and every check has a budget of bytes and of
//! time. Anything that exceeds a budget, or has no decoder in this `FFmpeg`, is not checked, and the result says so.

use crate::{
    damage::{self, Flaw},
    decoded::Decoded,
    process::{Ffmpeg, Input, Limits, UNEDITED},
    range_server::RangeServer,
};
use model::{ClipError, ErrorKind, damage::Damaged};
use mp4_cut::{
    Movie, ShownFrame,
    io::{CachedSource, RangeRead},
};
use std::{
    ops::Range,
    path::Path,
    time::{Duration, Instant},
};

/// How much is checked at a clip's start and end, in seconds.
const EDGE_SECONDS: f64 = 1.0;
/// The same around a joint or a seam.
const SEAM_SECONDS: f64 = 0.5;
/// The most that is checked, in seconds of pictures.
const MAX_SECONDS: f64 = 20.0;
/// Less than this of a place is not checked on its own, in seconds.
const REST_SECONDS: f64 = 0.25;
/// How far before a place the second check of it begins, in seconds: pictures may need more before them than the index
/// says.
const LEAD_SECONDS: f64 = 5.0;
/// What one check may read, in bytes.
const LOOK_BYTES: u64 = 256 << 20;
/// How long all checks together may take.
const TIME: Duration = Duration::from_secs(25);

/// A clip to check.
#[derive(Debug)]
pub struct Clip<'a, S> {
    /// Its file.
    pub file: CachedSource<S>,
    /// `FFmpeg`'s name of its reader.
    pub demuxer: &'static str,
    /// `FFmpeg`'s name of its codec.
    pub codec: &'a str,
    /// Its pictures, in order.
    pub shown: &'a [ShownFrame],
    /// What its edit list hides and shown pictures are decoded from.
    pub leads: &'a [Lead],
    /// How many hidden pictures come after the last shown one.
    pub frames_behind: u64,
    /// Where it ends, in seconds.
    pub end_seconds: f64,
    /// What was just encoded, or decoded for that without damage, in seconds. It is not checked.
    pub known: &'a [Range<f64>],
}

/// Hidden pictures from which a shown one is decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Lead {
    /// When they are shown if the edit list is ignored, in seconds.
    pub media_seconds: Vec<f64>,
    /// The index of the shown picture that follows them.
    pub index: usize,
}

/// The pictures of a clip that was read in pieces, the hidden ones before each piece, and how many there are after the
/// last.
///
/// # Errors
/// As [`Movie::shown_frames`].
pub fn pictures(pieces: &[Movie]) -> Result<(Vec<ShownFrame>, Vec<Lead>, u64), ClipError> {
    let (mut shown, mut leads) = (Vec::new(), Vec::new());
    for piece in pieces {
        let media_seconds = piece.lead_frames()?;
        if !media_seconds.is_empty() {
            leads.push(Lead {
                media_seconds,
                index: shown.len(),
            });
        }
        shown.extend(piece.shown_frames()?);
    }
    let behind = pieces.last().map_or(Ok(0), Movie::frames_behind)?;
    Ok((shown, leads, behind))
}

/// What was found.
#[derive(Debug, Default, PartialEq)]
pub struct Checked {
    /// Which pictures are damaged, in order.
    pub flaws: Vec<Flaw>,
    /// Which pictures are decoded from damaged ones that are hidden, by their indexes, in order.
    pub after_damage: Vec<usize>,
    /// Whether some of the sound that belongs to the pictures does not decode.
    pub is_audio_damaged: bool,
    /// The first complaints.
    pub complaints: Vec<String>,
    /// Why it was not decoded, or only in some of the places; for people.
    pub undecoded: Option<String>,
}

/// The places at which to check a clip that is shown between two seconds: in order, not overlapping.
#[must_use]
pub fn places(clip: Range<f64>, seams: &[f64]) -> Vec<Range<f64>> {
    #[expect(clippy::cast_precision_loss, reason = "a clip has few seams")]
    let room = (MAX_SECONDS - 2.0 * EDGE_SECONDS) / seams.len().max(1) as f64;
    let around = room.min(SEAM_SECONDS) / 2.0;
    let mut places = vec![
        clip.start..clip.start + EDGE_SECONDS,
        clip.end - EDGE_SECONDS..clip.end,
    ];
    places.extend(seams.iter().map(|seam| seam - around..seam + around));
    places.sort_by(|one, other| one.start.total_cmp(&other.start));
    let mut apart: Vec<Range<f64>> = Vec::new();
    for place in places {
        match apart.last_mut() {
            Some(last) if place.start <= last.end => last.end = last.end.max(place.end),
            _ => apart.push(place),
        }
    }
    apart
}

impl<S: RangeRead + Clone + 'static> Clip<'_, S> {
    /// Decodes the clip around `seams`, and at both of its ends. `ffmpeg` runs in `folder`.
    ///
    /// # Errors
    /// Any error from reading the clip; `Internal` if the program cannot be run.
    pub async fn check(
        &self,
        seams: &[f64],
        ffmpeg: &Ffmpeg,
        folder: &Path,
    ) -> Result<Checked, ClipError> {
        let begun = Instant::now();
        let look = async |place, demuxer| {
            let limits = Limits {
                time: TIME.saturating_sub(begun.elapsed()),
                file_bytes: 0,
            };
            look(&self.file, demuxer, place, ffmpeg, folder, limits).await
        };
        let seconds: Vec<f64> = self.shown.iter().map(|frame| frame.seconds).collect();
        let Some(first) = seconds.first() else {
            return Ok(Checked::default());
        };
        let mut checked = Checked::default();
        for place in places(*first..self.end_seconds, seams) {
            let index = |at: f64| seconds.partition_point(|seconds| *seconds < at);
            let range = index(place.start)..index(place.end);
            if self.is_known(&place) {
                continue;
            }
            let media = self.media_place(&place);
            let mut decoded = match look(media.clone(), self.unedited()).await {
                Ok(decoded) => decoded,
                Err(error) => return checked.but_for(error),
            };
            if decoded.has_no_decoder() {
                checked.undecoded = Some(format!("this FFmpeg has no decoder for {}", self.codec));
                return Ok(checked);
            }
            if decoded.is_audio_damaged && place.start <= *first && !self.leads.is_empty() {
                // The damage may be in sound that the edit list hides.
                decoded.is_audio_damaged = match look(place.clone(), (self.demuxer, &[])).await {
                    Ok(edited) => edited.is_audio_damaged,
                    Err(error) => return checked.but_for(error),
                };
            }
            let mut damage = self.damage(range.clone(), &decoded);
            if place.start > *first && (!damage.is_none() || decoded.is_audio_damaged) {
                decoded = match look(media.start - LEAD_SECONDS..media.end, self.unedited()).await {
                    Ok(decoded) => decoded,
                    Err(error) => return checked.but_for(error),
                };
                damage = damage.also_in(&self.damage(range, &decoded));
            }
            checked.add(damage, decoded);
        }
        Ok(checked)
    }

    /// A place on the timeline of the media. It begins with the file if it contains the first picture, which may be
    /// decoded from hidden ones.
    fn media_place(&self, place: &Range<f64>) -> Range<f64> {
        let later = |index: usize| self.shown[index].media_seconds - self.shown[index].seconds;
        let begun = |at: f64| self.shown.partition_point(|frame| frame.seconds <= at);
        let before = |at: f64| self.shown.partition_point(|frame| frame.seconds < at);
        let first = begun(place.start).saturating_sub(1);
        Range {
            start: match first {
                0 => 0.0,
                _ => place.start + later(first),
            },
            end: place.end + later(before(place.end).saturating_sub(1)),
        }
    }

    /// The damage to the pictures in `range`, of which `decoded` is what was decoded.
    fn damage(&self, range: Range<usize>, decoded: &Decoded) -> Damage {
        let media: Vec<f64> = self.shown.iter().map(|frame| frame.media_seconds).collect();
        let is_damaged = |lead: &&Lead| {
            range.contains(&lead.index)
                && decoded.is_lead_damaged(&lead.media_seconds, media[lead.index])
        };
        let damaged = self.leads.iter().filter(is_damaged);
        let mut after_damage: Vec<_> = damaged.map(|lead| lead.index).collect();
        let last = media.len() - 1;
        let behind = media[last]..f64::INFINITY;
        if range.contains(&last)
            && self.frames_behind > 0
            && !decoded.is_whole(behind, 1 + self.frames_behind)
        {
            after_damage.push(last);
        }
        Damage {
            after_damage,
            flaws: damage::flaws(&media, range, &decoded.pictures),
        }
    }

    /// What was found, in the form that an outcome reports.
    #[must_use]
    pub fn damaged(&self, checked: &Checked) -> Damaged {
        let second = |index: usize| {
            let at = self
                .shown
                .get(index)
                .map_or(self.end_seconds, |frame| frame.seconds);
            at - self.shown[0].seconds
        };
        let mut damaged = Damaged {
            audio: checked.is_audio_damaged,
            ..Damaged::default()
        };
        let mut indexes: Vec<_> = checked.flaws.iter().map(|flaw| flaw.index).collect();
        indexes.extend(&checked.after_damage);
        indexes.sort_unstable();
        indexes.dedup();
        for index in indexes {
            damaged.add(second(index)..second(index + 1));
        }
        damaged
    }

    /// Whether nearly all pictures of a place are known to decode.
    fn is_known(&self, place: &Range<f64>) -> bool {
        let pictures = self
            .shown
            .iter()
            .map(|frame| frame.seconds + damage::TOLERANCE_SECONDS);
        let in_place = pictures.filter(|at| place.contains(at));
        let (known, unknown): (Vec<f64>, Vec<f64>) =
            in_place.partition(|at| self.known.iter().any(|part| part.contains(at)));
        let rest = unknown.first().zip(unknown.last());
        !known.is_empty() && rest.is_none_or(|(first, last)| last - first < REST_SECONDS)
    }

    /// The demuxer, with the options that put places on the timeline of the media.
    fn unedited(&self) -> (&'static str, &'static [&'static str]) {
        match self.demuxer {
            "mov" => ("mov", &UNEDITED),
            other => (other, &[]),
        }
    }
}

/// Decodes what a file shows between two seconds of its timeline, reading it by ranges, with a demuxer and its options.
///
/// # Errors
/// `TrimBudgetExceeded` or `UnsupportedMedia` if it takes too long or reads too much, and any error from reading.
pub async fn look<S: RangeRead + Clone + 'static>(
    file: &CachedSource<S>,
    (demuxer, options): (&'static str, &[&str]),
    place: Range<f64>,
    ffmpeg: &Ffmpeg,
    folder: &Path,
    limits: Limits,
) -> Result<Decoded, ClipError> {
    let server = RangeServer::serve(file.clone(), LOOK_BYTES)?;
    let mut options: Vec<String> = options.iter().map(ToString::to_string).collect();
    let start = place.start.max(0.0);
    if place.start > 0.0 {
        let seek = format!("{start:.6}");
        options.extend(["-seek_timestamp", "1", "-ss", &seek].map(str::to_owned));
    }
    options.extend(["-t".to_owned(), format!("{:.6}", place.end - start)]);
    let input = Input::loopback(demuxer, options, &server);
    let mut decoded = server.classify_exit(ffmpeg.look(folder, &input, limits).await)?;
    for complaint in &mut decoded.complaints {
        *complaint = complaint.replace(server.url(), "it");
    }
    Ok(decoded)
}

/// Damage to some of a clip's pictures.
struct Damage {
    flaws: Vec<Flaw>,
    after_damage: Vec<usize>,
}

impl Damage {
    fn is_none(&self) -> bool {
        self.flaws.is_empty() && self.after_damage.is_empty()
    }

    /// What another look found too.
    fn also_in(mut self, other: &Self) -> Self {
        let has = |flaw: &Flaw| other.flaws.iter().any(|other| other.index == flaw.index);
        self.flaws.retain(has);
        self.after_damage
            .retain(|index| other.after_damage.contains(index));
        self
    }
}

impl Checked {
    fn add(&mut self, damage: Damage, decoded: Decoded) {
        if !damage.is_none() && self.complaints.is_empty() {
            self.complaints = decoded.complaints;
        }
        self.flaws.extend(damage.flaws);
        self.after_damage.extend(damage.after_damage);
        self.is_audio_damaged |= decoded.is_audio_damaged;
    }

    /// What was found before a check exceeded a budget.
    fn but_for(mut self, error: ClipError) -> Result<Self, ClipError> {
        match error.kind {
            ErrorKind::TrimBudgetExceeded | ErrorKind::UnsupportedMedia => {
                self.undecoded = Some(format!("checking took too much: {}", error.message));
                Ok(self)
            }
            _ => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_ends_and_every_seam_are_looked_at() {
        assert_eq!(
            places(0.0..60.0, &[30.0]),
            [0.0..1.0, 29.75..30.25, 59.0..60.0]
        );
        assert_eq!(places(0.0..1.5, &[0.9]), [0.0..1.5]);
    }

    proptest! {
        #[test]
        fn never_more_than_twenty_seconds_are_looked_at(
            seconds in 0.1..10_000.0_f64,
            seams in prop::collection::vec(0.0..1.0_f64, 0..200),
        ) {
            let seams: Vec<f64> = seams.iter().map(|part| part * seconds).collect();
            let places = places(0.0..seconds, &seams);
            let all: f64 = places.iter().map(|place| place.end - place.start).sum();
            prop_assert!(all <= MAX_SECONDS + 1e-6, "{}", all);
            for seam in seams {
                prop_assert!(places.iter().any(|place| place.contains(&seam)));
            }
        }
    }
}
