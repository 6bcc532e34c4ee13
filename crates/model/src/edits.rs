//! How a clip's pictures and sound are changed, as requests write it.
//!
//! Pictures are rotated, cropped, resized and watermarked, in this order; then the clip is sped up or slowed down, and
//! fades in and out.

use crate::{
    error::{ClipError, invalid},
    source::Source,
    text::shorten,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The smallest and the largest width or height of a clip, in pixels (the same as `MediaConvert`'s).
const SIDE: std::ops::RangeInclusive<u32> = 32..=8192;
/// The slowest and the fastest playback speed.
const SPEED: std::ops::RangeInclusive<f64> = 0.25..=4.0;
/// The longest fade, in seconds.
const MAX_FADE_SECONDS: f64 = 60.0;

/// How a clip's pictures and sound are changed.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Edits {
    /// How far the pictures are turned clockwise: 90, 180 or 270 degrees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = [90, 180, 270, null]))]
    pub rotate: Option<u16>,
    /// The part of the pictures that is kept, as they are after `rotate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<Crop>,
    /// The size of the clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<Resize>,
    /// A picture that is laid over the clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Watermark>,
    /// How many seconds of the source are shown in one second, 0.25 to 4: 0.5 is slow motion, at half the speed. The
    /// sound keeps its pitch, the clip its frame rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.25, max = 4.0))]
    pub speed: Option<f64>,
    /// Leaves the sound out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mute: bool,
    /// Fades pictures from and to black, and sound from and to silence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fade: Option<Fade>,
}

/// A rectangle, in pixels; all of its numbers are even.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Crop {
    /// From the left edge of the picture.
    #[schemars(extend("multipleOf" = 2))]
    pub x: u32,
    /// From the top edge of the picture.
    #[schemars(extend("multipleOf" = 2))]
    pub y: u32,
    /// Width, 32 to 8,192.
    #[schemars(range(min = 32, max = 8192), extend("multipleOf" = 2))]
    pub width: u32,
    /// Height, 32 to 8,192.
    #[schemars(range(min = 32, max = 8192), extend("multipleOf" = 2))]
    pub height: u32,
}

/// The size of a clip, in pixels. With width or height alone, the other follows from the picture's proportions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resize {
    /// Width, even, 32 to 8,192.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 32, max = 8192), extend("multipleOf" = 2))]
    pub width: Option<u32>,
    /// Height, even, 32 to 8,192.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 32, max = 8192), extend("multipleOf" = 2))]
    pub height: Option<u32>,
    /// What is done about other proportions.
    #[serde(default)]
    pub fit: Fit,
    /// Whether pictures may be made larger than they are. If not, the clip gets the largest size of these proportions
    /// that needs no enlarging.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub upscale: bool,
}

/// How pictures are fitted into a size of other proportions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Fit {
    /// All of the picture is shown, framed in black.
    #[default]
    Contain,
    /// The size is filled; what is beyond it is cut off on both sides.
    Cover,
    /// The picture is distorted.
    Stretch,
}

/// A PNG picture that is laid over all of a clip.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Watermark {
    /// A bucket that the deployment allows as a source; left out, that of the clip's first source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 63))]
    pub bucket: Option<String>,
    /// The object's key, which ends in `.png`; a PNG of at most 8 MiB and 4,096 pixels on a side.
    #[schemars(length(min = 1, max = 1024))]
    pub key: String,
    /// Where it lies, a fiftieth of the clip's shorter side away from the edges.
    #[serde(default)]
    pub position: Position,
    /// Its width in parts of the clip's; above 0, up to 1. It is made smaller where it would be higher than the clip.
    #[serde(default = "default_scale")]
    #[schemars(range(max = 1), extend("exclusiveMinimum" = 0))]
    pub scale: f64,
    /// How opaque it is: above 0, up to 1, on top of its own transparency.
    #[serde(default = "opaque")]
    #[schemars(range(max = 1), extend("exclusiveMinimum" = 0))]
    pub opacity: f64,
}

/// Where a watermark lies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Position {
    TopLeft,
    Top,
    TopRight,
    Left,
    Center,
    Right,
    BottomLeft,
    Bottom,
    #[default]
    BottomRight,
}

/// Fades, in seconds; 0 to 60.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fade {
    /// How long the clip fades in.
    #[serde(default, rename = "in")]
    #[schemars(range(min = 0, max = 60))]
    pub in_seconds: f64,
    /// How long the clip fades out.
    #[serde(default, rename = "out")]
    #[schemars(range(min = 0, max = 60))]
    pub out_seconds: f64,
}

fn default_scale() -> f64 {
    0.15
}

fn opaque() -> f64 {
    1.0
}

impl Edits {
    /// Whether nothing is changed.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.first_field().is_none()
    }

    /// The name of the first requested edit.
    #[must_use]
    pub fn first_field(&self) -> Option<&'static str> {
        let asked = [
            ("rotate", self.rotate.is_some()),
            ("crop", self.crop.is_some()),
            ("resize", self.resize.is_some()),
            ("watermark", self.watermark.is_some()),
            ("speed", self.speed.is_some()),
            ("mute", self.mute),
            ("fade", self.fade.is_some()),
        ];
        let first = asked.into_iter().find(|(_, asked)| *asked);
        first.map(|(field, _)| field)
    }

    /// How many seconds of the source are shown in one second.
    #[must_use]
    pub fn speed(&self) -> f64 {
        self.speed.unwrap_or(1.0)
    }

    /// Checks what the types cannot express.
    ///
    /// # Errors
    /// `InvalidRequest`, naming the field at fault.
    pub fn check(&self, source_buckets: &[String]) -> Result<(), ClipError> {
        match self.rotate {
            None | Some(90 | 180 | 270) => {}
            Some(degrees) => {
                return invalid(
                    "edits.rotate",
                    format_args!("{degrees} is not 90, 180 or 270"),
                );
            }
        }
        if let Some(Crop {
            x,
            y,
            width,
            height,
        }) = self.crop
        {
            check_even("edits.crop.x", x)?;
            check_even("edits.crop.y", y)?;
            check_side("edits.crop.width", width)?;
            check_side("edits.crop.height", height)?;
        }
        if let Some(Resize { width, height, .. }) = self.resize {
            if (width, height) == (None, None) {
                return invalid("edits.resize", format_args!("has neither width nor height"));
            }
            if let Some(width) = width {
                check_side("edits.resize.width", width)?;
            }
            if let Some(height) = height {
                check_side("edits.resize.height", height)?;
            }
        }
        if let Some(watermark) = &self.watermark {
            watermark.check(source_buckets)?;
        }
        if let Some(speed) = self.speed
            && !SPEED.contains(&speed)
        {
            return invalid(
                "edits.speed",
                format_args!("{speed} is not between 0.25 and 4"),
            );
        }
        if let Some(fade) = &self.fade {
            check_fade("edits.fade.in", fade.in_seconds)?;
            check_fade("edits.fade.out", fade.out_seconds)?;
        }
        Ok(())
    }
}

fn check_fade(field: &str, seconds: f64) -> Result<(), ClipError> {
    if !(0.0..=MAX_FADE_SECONDS).contains(&seconds) {
        return invalid(
            field,
            format_args!("{seconds} is not between 0 and 60 seconds"),
        );
    }
    Ok(())
}

impl Watermark {
    fn check(&self, source_buckets: &[String]) -> Result<(), ClipError> {
        for (field, part) in [("scale", self.scale), ("opacity", self.opacity)] {
            if !(part > 0.0 && part <= 1.0) {
                return invalid(
                    &format!("edits.watermark.{field}"),
                    format_args!("{part} is not above 0 and up to 1"),
                );
            }
        }
        // MediaConvert goes by the file name.
        if !self.key.to_ascii_lowercase().ends_with(".png") {
            let key = shorten(&self.key, 80);
            return invalid(
                "edits.watermark.key",
                format_args!("{key:?} does not end in .png"),
            );
        }
        let bucket = self
            .bucket
            .clone()
            .or_else(|| source_buckets.first().cloned())
            .unwrap_or_default();
        Source {
            bucket,
            key: self.key.clone(),
        }
        .check("edits.watermark", source_buckets)
    }
}

fn check_side(field: &str, pixels: u32) -> Result<(), ClipError> {
    if !SIDE.contains(&pixels) {
        return invalid(
            field,
            format_args!(
                "{pixels} is not between {} and {} pixels",
                SIDE.start(),
                SIDE.end()
            ),
        );
    }
    check_even(field, pixels)
}

fn check_even(field: &str, pixels: u32) -> Result<(), ClipError> {
    if pixels.is_multiple_of(2) {
        Ok(())
    } else {
        invalid(field, format_args!("{pixels} is not even"))
    }
}
