//! Reads the delivered clip back, compares it with what was asked for, and decodes a little of it.
//!
//! Raises `DeliveryMismatch`, saying what differs or does not decode, and `UnsupportedMedia` when the clip's first picture
//! does not decode in the source either, or the request refuses a source that is damaged. Nothing is announced as
//! available that this step has not seen.

mod decoding;
mod found;
mod task;
mod webm;

use aws::source::S3Source;
use decoding::Decoding;
use ffmpeg::{remux::Samples, scratch::Scratch};
use found::Found;
use model::{
    ClipError,
    damage::Damaged,
    expected::Expected,
    outcome::{Delivered, EngineName},
    plan::ProbedSource,
    request::{Cut, Format, Source},
};
use mp4_cut::{Movie, PixelFormat};
pub use task::{Deps, Input};

/// Reads the clip's index, compares, and decodes a little of the clip.
///
/// # Errors
/// See the module; `DependencyUnavailable` when S3 does not answer.
pub async fn handle(deps: &Deps, input: Input) -> Result<Delivered, ClipError> {
    let at = Source {
        bucket: deps.bucket.clone(),
        key: input.clip.object.key.clone(),
    };
    let source = S3Source::pin(deps.s3.clone(), &at)
        .await
        .map_err(unreadable)?;
    let (object, made) = (source.object().clone(), &input.clip.object);
    if (object.bytes, object.etag.trim_matches('"')) != (made.bytes, &made.etag) {
        return Err(ClipError::delivery_mismatch(format!(
            "the clip had {} bytes when it was made and has {}",
            made.bytes, object.bytes
        )));
    }
    let scratch = Scratch::new(0, deps.scratch_bytes)?;
    let read = read(deps, source, input.request.format, &scratch).await;
    let (found, file) = read.map_err(unreadable)?;
    let expected = Expected::of(&input.request, &input.probe, input.engine.name)?;
    let expected = match &input.clip.damaged {
        Some(damaged) => expected.of_damaged(damaged),
        None => expected,
    };
    found.compare(&expected)?;
    let decoding = Decoding {
        deps,
        input: &input,
        found: &found,
        scratch: &scratch,
    };
    let (damaged, undecoded) = Box::pin(decoding.check(file)).await?;
    input.request.damage.check(&damaged)?;
    Ok(delivered(&input, found, expected, damaged, undecoded))
}

/// What the sources have and the clip does not, for a person.
fn dropped(input: &Input, kept_audio_tracks: usize) -> Vec<String> {
    let mut dropped = input.probe.dropped(kept_audio_tracks);
    let is_copy = input.engine.name == EngineName::Trim && input.request.cut == Cut::Copy;
    let mut sources = input.probe.sources.iter();
    let has_metadata = |source: &ProbedSource| {
        let pixels = source.facts.video.pixels.as_ref();
        pixels.is_some_and(|pixels| pixels.dolby_vision)
    };
    if !is_copy && sources.any(has_metadata) {
        dropped.push("metadata of Dolby Vision".to_owned());
    }
    dropped
}

/// What the clip is, and where its bytes are.
async fn read(
    deps: &Deps,
    source: S3Source,
    format: Format,
    scratch: &Scratch,
) -> Result<(Found, Samples<S3Source>), ClipError> {
    Ok(match format {
        Format::Webm => {
            let (found, file) = webm::read(&source, scratch, deps.scratch_bytes).await?;
            (found, Samples::File(file))
        }
        Format::Mp4 | Format::Hevc | Format::Source => {
            let found = Found::of(&Movie::read_edits(&source).await?)?;
            (found, Samples::Source(source))
        }
    })
}

/// A clip that cannot be read is not what was asked for, whatever its reader calls that.
fn unreadable(error: ClipError) -> ClipError {
    if error.kind.is_rejection() {
        ClipError::delivery_mismatch(error.message)
    } else {
        error
    }
}

fn delivered(
    input: &Input,
    found: Found,
    expected: Expected,
    damaged: Damaged,
    undecoded: Option<String>,
) -> Delivered {
    let kept_audio_tracks = if input.request.edits.mute {
        usize::MAX
    } else {
        found.audio_tracks
    };
    let (first, last) = (input.probe.segments.first(), input.probe.segments.last());
    let source_pixels = input
        .probe
        .first_video()
        .and_then(|video| video.pixels.clone());
    let mut conformed = expected.conformed;
    let is_hdr = |pixels: &Option<PixelFormat>| pixels.as_ref().is_some_and(PixelFormat::is_hdr);
    if is_hdr(&source_pixels) && !is_hdr(&found.pixels) {
        conformed.push("high dynamic range to SDR".to_owned());
    }
    Delivered {
        start: first.map_or(0.0, |segment| segment.window.start_seconds),
        end: last.map_or(0.0, |segment| segment.window.end_seconds),
        duration_seconds: found.seconds,
        frames: found.frames(),
        width: found.size.width,
        height: found.size.height,
        video_codec: found.video_codec,
        audio_codec: found.audio_codec,
        pixels: found.pixels,
        source_pixels,
        coverage: input.probe.coverage.clone(),
        conformed,
        damaged: Some(damaged).filter(|damaged| !damaged.is_none()),
        undecoded,
        dropped: dropped(input, kept_audio_tracks),
    }
}
