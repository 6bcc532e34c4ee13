//! What a clip will be: its size, frame rate, frames and sound, as `trim` makes it and `verify` expects it.
//!
//! One cut keeps its source's frames and their times. Where cuts are joined, the first one sets the format: pictures of
//! another size are scaled to fit and framed in black, all frames lie on the grid of the first one's rate (made constant
//! as [`FrameGrid`] says), and a cut without sound is silent.

use crate::{
    mediaconvert::FrameGrid,
    mp4::VideoFacts,
    plan::{Plan, PlannedSegment},
};

/// Sample rates that AAC has and browsers play, in Hz; sound of another becomes 48 kHz.
const SAMPLE_RATES: [u32; 9] = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];
const DEFAULT_SAMPLE_RATE: u32 = 48_000;

/// A clip before it is made.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendition {
    /// Width and height in pixels, both even.
    pub size: Size,
    /// The rate that frames are laid on; `None` where the source's frames keep their times.
    pub frame_rate: Option<FrameRate>,
    /// The clip's sound; `None` for a silent clip.
    pub sound: Option<Sound>,
    /// What each segment gives to the clip.
    pub parts: Vec<Part>,
}

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

/// Frames a second, as a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRate {
    /// Frames in `denominator` seconds.
    pub numerator: u32,
    /// Seconds.
    pub denominator: u32,
}

/// What a clip's sound is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sound {
    /// Samples a second.
    pub sample_rate: u32,
    /// Number of channels.
    pub channels: u32,
}

/// A segment's part of a clip.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// How many frames it has in the clip.
    pub frames: u64,
    /// How long it plays, in seconds.
    pub seconds: f64,
    /// Whether its source has sound for it.
    pub has_sound: bool,
    /// The size of the source's pictures as they are shown.
    pub shown: Size,
    /// How it was brought to the first one's format, for a person; empty where nothing differs.
    pub conformed: Vec<String>,
}

impl Rendition {
    /// What the clip of `plan` will be.
    ///
    /// # Panics
    /// When the plan has no segment, which `probe` never makes.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let first = plan.segments.first().expect("a plan has a segment");
        let video = |segment: &PlannedSegment| &plan.sources[segment.source].facts.video;
        let frame_rate = (plan.segments.len() > 1).then(|| FrameRate::nearest(FrameGrid::of(video(first)).rate));
        let with_sound = plan.segments.iter().find(|segment| segment.window.has_audio);
        let sound =
            with_sound.and_then(|segment| plan.sources[segment.source].facts.audio.as_ref()).map(|audio| Sound {
                sample_rate: if SAMPLE_RATES.contains(&audio.sample_rate) {
                    audio.sample_rate
                } else {
                    DEFAULT_SAMPLE_RATE
                },
                channels: audio.channels.clamp(1, 8),
            });
        let mut rendition = Self { size: Size::shown(video(first)).even(), frame_rate, sound, parts: Vec::new() };
        rendition.parts = plan.segments.iter().map(|segment| rendition.part(plan, segment)).collect();
        rendition
    }

    fn part(&self, plan: &Plan, segment: &PlannedSegment) -> Part {
        let (window, facts) = (&segment.window, &plan.sources[segment.source].facts);
        let shown = Size::shown(&facts.video);
        let mut part = Part {
            frames: window.frames,
            seconds: window.duration_seconds,
            has_sound: window.has_audio,
            shown,
            conformed: Vec::new(),
        };
        let Some(rate) = self.frame_rate else { return part };
        part.frames = rate.frames(window.duration_seconds);
        part.seconds = rate.seconds(part.frames);
        let conformed = &mut part.conformed;
        if shown.even() != self.size {
            conformed.push(format!("size {shown} to {}", self.size));
        }
        if !facts.video.constant_frame_rate || FrameRate::nearest(facts.video.frame_rate) != rate {
            let varying = if facts.video.constant_frame_rate { "" } else { "varying " };
            conformed.push(format!("frame rate {varying}{:.3} to {:.3}", facts.video.frame_rate, rate.hertz()));
        }
        match (&facts.audio, self.sound) {
            (Some(audio), Some(sound)) if part.has_sound => {
                if audio.sample_rate != sound.sample_rate {
                    conformed.push(format!("sample rate {} to {}", audio.sample_rate, sound.sample_rate));
                }
                if audio.channels != sound.channels {
                    conformed.push(format!("channels {} to {}", audio.channels, sound.channels));
                }
            }
            (_, Some(_)) => conformed.push("silence added".to_owned()),
            (_, None) => {}
        }
        part
    }

    /// How many frames the clip has.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.parts.iter().map(|part| part.frames).sum()
    }

    /// How long the clip plays, in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.parts.iter().map(|part| part.seconds).sum()
    }

    /// How segments were brought to the first one's format, for a person: one line for each that differed.
    #[must_use]
    pub fn conformed(&self) -> Vec<String> {
        let differing = self.parts.iter().enumerate().filter(|(_, part)| !part.conformed.is_empty());
        differing.map(|(index, part)| format!("segments[{index}]: {}", part.conformed.join(", "))).collect()
    }
}

impl Size {
    /// The size in which a source is shown, after pixel aspect and rotation.
    #[must_use]
    pub fn shown(video: &VideoFacts) -> Self {
        Self { width: video.width, height: video.height }
    }

    /// The next smaller size that is even, which subsampled colour needs.
    #[must_use]
    pub fn even(self) -> Self {
        Self { width: (self.width & !1).max(2), height: (self.height & !1).max(2) }
    }

    /// The largest even size of these proportions within `frame`.
    #[must_use]
    pub fn within(self, frame: Self) -> Self {
        let scale = (frame.width_f64() / self.width_f64()).min(frame.height_f64() / self.height_f64());
        self.scaled(scale, scale).at_most(frame)
    }

    /// This size scaled, to the nearest even one.
    fn scaled(self, across: f64, down: f64) -> Self {
        Self { width: nearest_even(self.width_f64() * across), height: nearest_even(self.height_f64() * down) }
    }

    fn at_most(self, other: Self) -> Self {
        Self { width: self.width.min(other.width), height: self.height.min(other.height) }
    }

    fn width_f64(self) -> f64 {
        self.width.into()
    }

    fn height_f64(self) -> f64 {
        self.height.into()
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "such a cast saturates")]
fn nearest_even(pixels: f64) -> u32 {
    ((pixels / 2.0).round() as u32).max(1) * 2
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl FrameRate {
    /// The fraction that a measured rate stands for: a whole rate, one of NTSC's (a whole one over 1.001), or else the
    /// rate to four decimals.
    #[must_use]
    pub fn nearest(hertz: f64) -> Self {
        const TOLERANCE: f64 = 1e-4;
        let whole = Self { numerator: round(hertz), denominator: 1 };
        let ntsc = Self { numerator: round(hertz * 1.001).saturating_mul(1000), denominator: 1001 };
        let near = |rate: &Self| (rate.hertz() / hertz - 1.0).abs() < TOLERANCE;
        let decimal = Self { numerator: round(hertz * 10_000.0).max(1), denominator: 10_000 };
        [whole, ntsc].into_iter().find(near).unwrap_or(decimal)
    }

    /// Frames a second.
    #[must_use]
    pub fn hertz(self) -> f64 {
        f64::from(self.numerator) / f64::from(self.denominator)
    }

    /// How many frames are shown in `seconds`, at least one.
    #[must_use]
    pub fn frames(self, seconds: f64) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "such a cast saturates")]
        let frames = (seconds * self.hertz()).round() as u64;
        frames.max(1)
    }

    /// How long `frames` are shown, in seconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "seconds are for people and for FFmpeg, which takes microseconds")]
    pub fn seconds(self, frames: u64) -> f64 {
        frames as f64 / self.hertz()
    }

    /// A timescale in which every frame's time is a whole number, and that is not coarse for sound.
    #[must_use]
    pub fn timescale(self) -> u32 {
        self.numerator * 10_000_u32.div_ceil(self.numerator)
    }
}

impl std::fmt::Display for FrameRate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.numerator, self.denominator)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "such a cast saturates")]
fn round(value: f64) -> u32 {
    value.round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn measured_rates_are_the_fractions_they_stand_for() {
        for (hertz, fraction) in [
            (25.0, "25/1"),
            (29.970_03, "30000/1001"),
            (23.976, "24000/1001"),
            (59.94, "60000/1001"),
            (12.5, "125000/10000"),
        ] {
            assert_eq!(FrameRate::nearest(hertz).to_string(), fraction);
        }
    }

    proptest! {
        #[test]
        fn rate_is_never_far_from_what_was_measured(hertz in 0.5_f64..300.0) {
            prop_assert!((FrameRate::nearest(hertz).hertz() / hertz - 1.0).abs() < 2e-4);
        }

        #[test]
        fn picture_within_a_frame_touches_it_and_keeps_its_proportions(
            width in 16_u32..5000, height in 16_u32..5000, across in 16_u32..2000, down in 16_u32..2000,
        ) {
            let frame = Size { width: across * 2, height: down * 2 };
            let Size { width: w, height: h } = Size { width, height }.within(frame);
            prop_assert!(w <= frame.width && h <= frame.height && w % 2 == 0 && h % 2 == 0);
            prop_assert!(w == frame.width || h == frame.height);
        }
    }
}
