//! Reads the delivered clip back and compares it with what was asked for.
//!
//! Raises `DeliveryMismatch`, saying what differs. Nothing is announced as available that this step has not seen.

mod webm;

use aws::{sdk, source::S3Source};
use lambda::environment;
use model::{
    ClipError,
    clip_spec::Size,
    expected::Expected,
    outcome::{Delivered, Engine, EngineName, Execution, Object},
    plan::{PinnedObject, Plan, ProbedSource},
    request::{ClipRequest, Cut, Format, Source},
};
use mp4_cut::{Movie, PixelFormat};
use serde::Deserialize;

/// How far the clip's sound may end from its pictures, in seconds: two frames of AAC at 44.1 kHz.
const AUDIO_TOLERANCE_SECONDS: f64 = 2.0 * 1024.0 / 44_100.0;

/// What the state hands over.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    pub execution: Execution,
    pub request: ClipRequest,
    /// What `probe` found.
    pub probe: Plan,
    pub clip: Object,
    /// What made it.
    pub engine: Engine,
}

#[derive(Debug)]
pub struct Deps {
    pub s3: aws_sdk_s3::Client,
    /// The bucket that clips are written to.
    pub bucket: String,
    /// The function's space in `/tmp`, in bytes.
    pub scratch_bytes: u64,
}

impl Deps {
    /// # Errors
    /// `Internal`, naming the environment variable that is missing.
    pub async fn from_env() -> Result<Self, ClipError> {
        let bucket = environment::required("CLIPFLOW_BUCKET")?;
        ffmpeg::scratch::clean();
        let scratch_bytes = environment::parsed("CLIPFLOW_SCRATCH_BYTES")?;
        Ok(Self {
            bucket,
            scratch_bytes,
            s3: aws_sdk_s3::Client::new(&sdk::sdk_config().await),
        })
    }
}

/// Reads the clip's index and compares.
///
/// # Errors
/// `DeliveryMismatch`, saying what differs; `DependencyUnavailable` when S3 does not answer.
pub async fn handle(deps: &Deps, input: Input) -> Result<Delivered, ClipError> {
    let at = Source {
        bucket: deps.bucket.clone(),
        key: input.clip.key.clone(),
    };
    let (object, found) = read(deps, &at, input.request.format)
        .await
        .map_err(unreadable)?;
    let etag = object.etag.trim_matches('"');
    if (object.bytes, etag) != (input.clip.bytes, &input.clip.etag) {
        let (made, bytes) = (input.clip.bytes, object.bytes);
        return Err(ClipError::delivery_mismatch(format!(
            "the clip had {made} bytes when it was made and has {bytes}"
        )));
    }
    let expected = Expected::of(&input.request, &input.probe, input.engine.name)?;
    found.compare(&expected)?;
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
    Ok(Delivered {
        start: first.map_or(0.0, |segment| segment.window.start_seconds),
        end: last.map_or(0.0, |segment| segment.window.end_seconds),
        duration_seconds: found.seconds,
        frames: found.frames,
        width: found.size.width,
        height: found.size.height,
        video_codec: found.video_codec,
        audio_codec: found.audio_codec,
        pixels: found.pixels,
        source_pixels,
        coverage: input.probe.coverage.clone(),
        conformed,
        dropped: dropped(&input, kept_audio_tracks),
    })
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

async fn read(
    deps: &Deps,
    at: &Source,
    format: Format,
) -> Result<(PinnedObject, Found), ClipError> {
    let source = S3Source::pin(deps.s3.clone(), at).await?;
    let found = match format {
        Format::Webm => webm::read(&source, deps.scratch_bytes).await?,
        Format::Mp4 | Format::Hevc | Format::Source => {
            Found::of(&Movie::read_edits(&source).await?)?
        }
    };
    Ok((source.object().clone(), found))
}

/// A clip that cannot be read is not what was asked for, whatever its reader calls that.
fn unreadable(error: ClipError) -> ClipError {
    if error.kind.is_rejection() {
        ClipError::delivery_mismatch(error.message)
    } else {
        error
    }
}

/// What a delivered clip is.
#[derive(Debug)]
struct Found {
    size: Size,
    frames: u64,
    seconds: f64,
    /// How far that may be off, because the container does not tell pictures from sound.
    imprecision_seconds: f64,
    /// When the first frame is shown.
    start_seconds: f64,
    /// How much longer than its pictures the sound is.
    excess_seconds: f64,
    video_codec: String,
    pixels: Option<PixelFormat>,
    audio_codec: Option<String>,
    audio_tracks: usize,
}

impl Found {
    /// What a clip is that was read in pieces, of which it has several when it was joined without encoding.
    fn of(pieces: &[Movie]) -> Result<Self, ClipError> {
        let [first, ..] = pieces else {
            return Err(ClipError::delivery_mismatch(
                "the clip's edit list is not ours",
            ));
        };
        let facts = || pieces.iter().map(|piece| &piece.facts);
        Ok(Self {
            size: Size::shown(&first.facts.video),
            frames: facts().map(|facts| facts.video.frames).sum(),
            seconds: facts().map(|facts| facts.video.duration_seconds).sum(),
            imprecision_seconds: 0.0,
            start_seconds: first.facts.video.start_seconds,
            excess_seconds: facts()
                .map(|facts| {
                    facts.duration_seconds
                        - facts.video.start_seconds
                        - facts.video.duration_seconds
                })
                .fold(0.0, f64::max),
            video_codec: first.facts.video.codec.clone(),
            pixels: first.facts.video.pixels.clone(),
            audio_codec: first.facts.audio.as_ref().map(|audio| audio.codec.clone()),
            audio_tracks: first.facts.audio.as_ref().map_or(0, |audio| audio.tracks),
        })
    }

    fn compare(&self, expected: &Expected) -> Result<(), ClipError> {
        let differs = |what: &str, asked: &dyn std::fmt::Display, got: &dyn std::fmt::Display| {
            Err(ClipError::delivery_mismatch(format!(
                "{what}: {asked} was asked for, the clip has {got}"
            )))
        };
        if self.frames.abs_diff(expected.frames) > expected.frames_tolerance {
            return differs("frames", &expected.frames, &self.frames);
        }
        #[expect(clippy::cast_precision_loss, reason = "a few frames")]
        let tolerance = expected.frame_seconds * (1.0 + expected.frames_tolerance as f64)
            + self.imprecision_seconds;
        if (self.seconds - expected.seconds).abs() > tolerance {
            return differs("seconds", &expected.seconds, &self.seconds);
        }
        if self.start_seconds > expected.frame_seconds {
            return differs("time of the first frame", &0, &self.start_seconds);
        }
        if self.size != expected.size {
            return differs("size", &expected.size, &self.size);
        }
        if !expected.video_codecs.contains(&self.video_codec) {
            let expected = expected.video_codecs.join(" or ");
            return differs("video codec", &expected, &self.video_codec);
        }
        if self.audio_codec.is_some() != expected.has_audio {
            return differs("audio", &expected.has_audio, &self.audio_codec.is_some());
        }
        if self.excess_seconds > expected.frame_seconds + AUDIO_TOLERANCE_SECONDS {
            return differs(
                "seconds with audio",
                &self.seconds,
                &(self.seconds + self.excess_seconds),
            );
        }
        Ok(())
    }
}
