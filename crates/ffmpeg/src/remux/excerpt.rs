//! Remuxing into an MP4 what an interval of a source needs, or all of the source.

use super::{
    arguments::{
        DISCARD_CORRUPT, container_lead_seconds, demuxer, look, read_from, read_on,
        remux_arguments, stamp,
    },
    range::{RemuxedRange, Samples},
    remuxer::Remuxer,
};
use crate::{process::Input, range_server::RangeServer};
use model::{ClipError, ErrorKind, plan::Remuxed};
use mp4_cut::{
    Container, Error, Facts, Movie,
    io::{CachedSource, LocalFile, RangeRead},
};
use std::ops::Range;

/// How much is read beyond the end of an interval, in seconds: enough to see where its last frame ends.
const TAIL_SECONDS: f64 = 0.5;
/// The most that is read beyond it to find the picture that follows a held one, in seconds.
const MAX_TAIL_SECONDS: f64 = 60.0;
/// The most that is read before an interval to find a keyframe, in seconds.
const MAX_LEAD_SECONDS: f64 = 40.0;
/// What finding an interval may read, in bytes, besides the interval and what is between it and a keyframe. It takes up
/// to 3 MB; a source with a useless index would be read from its start.
const SEARCH_BYTES: u64 = 8 << 20;
/// How many times the average bit rate an interval may have.
const MAX_UNEVEN: u64 = 8;

/// A source of another container.
#[derive(Debug)]
pub(super) struct Other<S> {
    pub facts: Facts,
    pub remuxed: Remuxed,
    pub source: CachedSource<S>,
}

impl<S: RangeRead + Clone + 'static> Other<S> {
    /// What an interval is cut out of: the excerpt `name`, which begins `lead_seconds` before it or, if that is none or too
    /// little, where there is a keyframe.
    pub async fn search(
        &self,
        (start_seconds, end_seconds): (f64, f64),
        lead_seconds: Option<f64>,
        name: &str,
        remuxer: Remuxer<'_>,
    ) -> Result<RemuxedRange<S>, ClipError> {
        check_interval(&self.facts, start_seconds, end_seconds)?;
        let duration = self.facts.duration_seconds;
        let end = end_seconds.min(duration);
        let start = self.remuxed.remuxed_start_microseconds();
        // The first keyframe may be shown a little later than the first sound.
        let first = self.facts.video.start_seconds + 0.001;
        let mut lead = lead_seconds.unwrap_or(container_lead_seconds(self.remuxed.container));
        let mut tail = TAIL_SECONDS;
        loop {
            let from = (start_seconds - lead).max(0.0);
            self.remux(from..end + tail, name, remuxer).await?;
            let file = LocalFile::open(remuxer.scratch.file(name))?;
            let is_last = from <= 0.0 || lead >= MAX_LEAD_SECONDS;
            match Movie::read_remuxed(&file, start, duration).await {
                Ok(movie) if movie.first_keyframe_seconds()? <= start_seconds.max(first) => {
                    // Only the next picture reveals how long the last one is shown.
                    let ends = movie.end_seconds();
                    if ends < end - 0.001 && end + tail < duration && tail < MAX_TAIL_SECONDS {
                        tail = (2.0 * tail).max(1.0);
                        continue;
                    }
                    return Ok(RemuxedRange {
                        movie,
                        samples: Samples::File(file),
                        lead_seconds: Some(lead),
                    });
                }
                // FFmpeg drops all pictures before the first keyframe.
                Ok(_) | Err(Error::NoVideo { .. }) if is_last => {
                    return Err(no_keyframe(from, start_seconds));
                }
                Err(error) if is_last || !may_begin_too_late(&error) => return Err(error.into()),
                _ => lead = (2.0 * lead).max(1.0),
            }
        }
    }

    /// Writes what is between two seconds of the source to the file `name`.
    async fn remux(
        &self,
        seconds: Range<f64>,
        name: &str,
        remuxer: Remuxer<'_>,
    ) -> Result<(), ClipError> {
        match self.remux_with(&[], seconds.clone(), name, remuxer).await {
            // With audio packets missing, the rest of a frame may not fit an MP4.
            Err(error)
                if error.kind == ErrorKind::UnsupportedMedia
                    && self.remuxed.container == Container::MpegTs =>
            {
                tracing::warn!(error.message, "remuxing without damaged packets");
                self.remux_with(&DISCARD_CORRUPT, seconds, name, remuxer)
                    .await
            }
            done => done,
        }
    }

    async fn remux_with(
        &self,
        more_options: &[&str],
        seconds: Range<f64>,
        name: &str,
        remuxer: Remuxer<'_>,
    ) -> Result<(), ClipError> {
        let Self {
            facts,
            remuxed,
            source,
        } = self;
        let interval_bytes =
            MAX_UNEVEN.saturating_mul(bytes_of(facts, seconds.end - seconds.start));
        let most_bytes =
            (SEARCH_BYTES + bytes_of(facts, MAX_LEAD_SECONDS)).saturating_add(interval_bytes);
        let server = RangeServer::serve(source.clone(), most_bytes)?;
        // FFmpeg seeks to a keyframe by decode time: if the first has none, to the second.
        let mut options = if seconds.start > 0.0 {
            read_from(remuxed, seconds.start)
        } else {
            read_on(remuxed)
        };
        options.extend(more_options.iter().map(ToString::to_string));
        let input = Input::loopback(demuxer(remuxed.container), options, &server);
        let to = stamp(seconds.end, remuxed.remuxed_start_microseconds());
        let arguments = remux_arguments(facts, remuxed, Some(&to), name);
        server.classify_exit(
            remuxer
                .ffmpeg
                .run(remuxer.scratch.path(), &[input], &arguments, remuxer.limits)
                .await,
        )
    }
}

/// Writes all of a source that was described so as the file `name`.
pub(super) async fn remux_whole<S: RangeRead + Clone + 'static>(
    source: CachedSource<S>,
    facts: &Facts,
    how: &Remuxed,
    name: &str,
    remuxer: Remuxer<'_>,
) -> Result<(), ClipError> {
    let most_bytes = SEARCH_BYTES.saturating_add(source.len().saturating_mul(2));
    let server = RangeServer::serve(source, most_bytes)?;
    let mut options = look(how.look_microseconds);
    options.extend(["-fflags", "+genpts"].map(str::to_owned));
    let input = Input::loopback(demuxer(how.container), options, &server);
    let arguments = remux_arguments(facts, how, None, name);
    let run = remuxer
        .ffmpeg
        .run(remuxer.scratch.path(), &[input], &arguments, remuxer.limits)
        .await;
    server.classify_exit(run).map_err(|error| match error.kind {
        ErrorKind::TrimBudgetExceeded => ClipError::unsupported_media(format!(
            "the source is {}, which takes too long to be read from its start: {}",
            how.container.name(),
            error.message
        )),
        _ => error,
    })
}

/// What reading an excerpt may raise because it begins behind the keyframe that it needs.
fn may_begin_too_late(error: &Error) -> bool {
    matches!(
        error,
        Error::Unsupported(_) | Error::Damaged(_) | Error::NoVideo { .. }
    )
}

fn no_keyframe(searched_from_seconds: f64, start_seconds: f64) -> ClipError {
    let seconds = start_seconds - searched_from_seconds;
    ClipError::unsupported_media(format!(
        "no keyframe was found in the {seconds:.1} s before {start_seconds} s of the source, and decoding begins with one"
    ))
}

/// Refuses an invalid interval, and one that is so far beyond the source that no excerpt is needed to see it.
pub(super) fn check_interval(
    facts: &Facts,
    start_seconds: f64,
    end_seconds: f64,
) -> Result<(), ClipError> {
    Movie::check_interval(start_seconds, end_seconds)?;
    let duration = facts.duration_seconds;
    for (name, seconds, most) in [
        ("start", start_seconds, duration),
        ("end", end_seconds, duration + TAIL_SECONDS),
    ] {
        if seconds >= most {
            return Err(ClipError::out_of_range(format!(
                "{name}: {seconds} s is beyond the source, which is {duration:.3} s long"
            )));
        }
    }
    Ok(())
}

/// About how many bytes of a source an interval of so many seconds is.
pub(super) fn bytes_of(facts: &Facts, seconds: f64) -> u64 {
    let share = (seconds / facts.duration_seconds.max(0.001)).clamp(0.0, 1.0);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    let bytes = (facts.bytes as f64 * share).ceil() as u64;
    bytes
}
