//! What a delivered clip is, and whether that is what was requested.

use ffmpeg::check::{self, Lead};
use model::{ClipError, clip_spec::Size, expected::Expected};
use mp4_cut::{Movie, PixelFormat, ShownFrame};
use std::fmt::Display;

/// How far apart the ends of audio and pictures may be, in seconds: two AAC frames at 44.1 kHz.
pub const AUDIO_TOLERANCE_SECONDS: f64 = 2.0 * 1024.0 / 44_100.0;

/// What a delivered clip is.
#[derive(Debug)]
pub struct Found {
    pub size: Size,
    pub shown: Vec<ShownFrame>,
    pub leads: Vec<Lead>,
    pub frames_behind: u64,
    pub seconds: f64,
    /// How imprecise that is, because the container has no separate durations for pictures and audio.
    pub imprecision_seconds: f64,
    /// When the first frame is shown.
    pub start_seconds: f64,
    /// How much longer than its pictures the audio is.
    pub excess_seconds: f64,
    pub video_codec: String,
    pub pixels: Option<PixelFormat>,
    pub audio_codec: Option<String>,
    pub audio_tracks: usize,
}

impl Found {
    /// The facts of a clip that was read in pieces; it has several if it was joined without encoding.
    pub fn of(pieces: &[Movie]) -> Result<Self, ClipError> {
        let [first, ..] = pieces else {
            return Err(ClipError::delivery_mismatch(
                "the clip's edit list is not ours",
            ));
        };
        let facts = || pieces.iter().map(|piece| &piece.facts);
        let (shown, leads, frames_behind) = check::pictures(pieces)?;
        Ok(Self {
            size: Size::shown(&first.facts.video),
            shown,
            leads,
            frames_behind,
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

    /// How many frames it shows.
    pub fn frames(&self) -> u64 {
        self.shown.len() as u64
    }

    /// Where it ends, on its own timeline.
    pub fn end_seconds(&self) -> f64 {
        self.shown.first().map_or(0.0, |first| first.seconds) + self.seconds
    }

    pub fn compare(&self, expected: &Expected) -> Result<(), ClipError> {
        let differs = |what: &str, asked: &dyn Display, got: &dyn Display| {
            Err(ClipError::delivery_mismatch(format!(
                "{what}: expected {asked}, but the clip has {got}"
            )))
        };
        if self.frames().abs_diff(expected.frames) > expected.frames_tolerance {
            return differs("frames", &expected.frames, &self.frames());
        }
        #[expect(clippy::cast_precision_loss, reason = "a few frames")]
        let tolerance = expected.frame_seconds * (1.0 + expected.frames_tolerance as f64)
            + expected.left_out_seconds
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
        let lacks_audio = expected.has_audio && self.audio_codec.is_none();
        let is_audio_lost = lacks_audio && expected.may_lack_audio;
        if self.audio_codec.is_some() != expected.has_audio && !is_audio_lost {
            return differs("audio", &expected.has_audio, &self.audio_codec.is_some());
        }
        let most = expected.frame_seconds + expected.left_out_seconds + AUDIO_TOLERANCE_SECONDS;
        if self.excess_seconds > most {
            return differs(
                "seconds with audio",
                &self.seconds,
                &(self.seconds + self.excess_seconds),
            );
        }
        Ok(())
    }
}
