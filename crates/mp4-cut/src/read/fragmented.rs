//! A source with many fragments, of which only those of an interval are read.

use crate::{
    error::{Error, Result},
    io::RangeRead,
    read::{
        fragments::Fragments,
        moov::Moov,
        movie::{Facts, Movie, audio_extent},
        track::EditSegment,
    },
    time::{Time, whole},
};
use bytes::Bytes;

/// How much more than an interval is read at its start: the index ignores the edit list, which shifts times by a few
/// frames.
const LEAD_SECONDS: f64 = 0.2;
/// How much more is read at its end: enough to see where its last frame ends.
const TAIL_SECONDS: f64 = 0.5;
/// The most that is read before an interval to find a keyframe.
const MAX_LEAD_SECONDS: f64 = 60.0;

/// A fragmented MP4 (ISO/IEC 14496-12, 8.8) with an index of its fragments (`sidx` or `mfra`).
#[derive(Debug, Clone)]
pub struct FragmentedMovie {
    /// What there is to know about the source. Frames and rates are those of its first fragments.
    pub facts: Facts,
    moov: Moov,
    fragments: Fragments,
    origin: Time,
    /// Where its media is shown, according to its first part.
    edit: EditSegment,
    /// What its video is, by the index and the first keyframe.
    descriptions: Bytes,
    /// Add this to a second of the source to get the video's media time.
    media_seconds: f64,
}

impl FragmentedMovie {
    /// Reads the first fragments and the last.
    pub(crate) async fn open(
        moov: Moov,
        fragments: Fragments,
        source: &impl RangeRead,
    ) -> Result<Self> {
        let first = moov.of_samples(&fragments.first(source, &moov.body).await?)?;
        let mut first = Movie::of_one_edit(&first, source.len())?;
        first.describe(source).await?;
        first.count_fields(source).await?;
        let last = moov.of_samples(&fragments.last(source, &moov.body).await?)?;
        let mut last = Movie::of_one_edit(&last, source.len())?;
        let edit = first.edit_of_source();
        last.show_by(edit)?;
        last.count_fields(source).await?;
        let origin = first.origin;
        let end = last.video.edit_segment.presentation(last.video_extent.end);
        let sound_end = last.audio.as_ref().map(|audio| audio_extent(audio).1);
        let video_seconds = end.seconds_since(origin) - first.facts.video.start_seconds;
        let mut facts = first.facts.clone();
        facts.duration_seconds = sound_end
            .map_or(end, |audio| if end.is_before(audio) { audio } else { end })
            .seconds_since(origin);
        let video = &mut facts.video;
        video.duration_seconds = video_seconds;
        video.frames = whole(video_seconds * video.frame_rate);
        video.constant_frame_rate &= last.facts.video.constant_frame_rate
            && (last.facts.video.frame_rate - video.frame_rate).abs() < 0.01 * video.frame_rate;
        let audio_rate = facts.audio.as_ref().map_or(0, |audio| audio.bit_rate);
        let all = whole(to_f64(source.len()) * 8.0 / facts.duration_seconds.max(0.001));
        facts.video.bit_rate = all.saturating_sub(audio_rate);
        if fragments.is_cut_short || last.index.is_cut_short {
            facts.say_cut_short();
        }
        let timescale = f64::from(edit.timescale);
        let media_start = edit.media_start - edit.shown_at;
        Ok(Self {
            facts,
            moov,
            fragments,
            origin,
            edit,
            descriptions: first.video.samples.descriptions.clone(),
            media_seconds: origin.seconds() + ticks_to_f64(media_start) / timescale,
        })
    }

    /// The part of the source that an interval in seconds is cut from, with a keyframe before it if there is one.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Unsupported`] for fragments that cannot be read; and any error from the source.
    pub async fn part(
        &self,
        source: &impl RangeRead,
        start_seconds: f64,
        end_seconds: f64,
    ) -> Result<Movie> {
        let mut lead = LEAD_SECONDS;
        loop {
            let from = start_seconds - lead + self.media_seconds;
            let to = end_seconds + TAIL_SECONDS + self.media_seconds;
            let samples = self
                .fragments
                .between(source, &self.moov.body, from..to)
                .await?;
            let movie = self.movie(&self.moov.of_samples(&samples)?, source.len());
            let is_last = start_seconds <= lead || lead >= MAX_LEAD_SECONDS;
            match movie {
                Ok(mut movie)
                    if is_last
                        || movie
                            .first_keyframe_seconds()
                            .is_ok_and(|at| at <= start_seconds) =>
                {
                    movie.look(source).await?;
                    return Ok(movie);
                }
                Err(error) if is_last || !matches!(error, Error::Unsupported(_)) => {
                    return Err(error);
                }
                _ => lead = (2.0 * lead).max(1.0),
            }
        }
    }

    fn movie(&self, index: &Moov, file_bytes: u64) -> Result<Movie> {
        let mut movie = Movie::of_one_edit(index, file_bytes)?;
        movie.show_by(self.edit)?;
        movie.describe_as(self.descriptions.clone())?;
        movie.origin = self.origin;
        movie.facts.duration_seconds = self.facts.duration_seconds;
        Ok(movie)
    }
}

#[expect(clippy::cast_precision_loss, reason = "good to a byte for terabytes")]
fn to_f64(bytes: u64) -> f64 {
    bytes as f64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "good to a microsecond for centuries"
)]
fn ticks_to_f64(ticks: i64) -> f64 {
    ticks as f64
}
