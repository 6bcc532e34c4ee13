//! The interval of a camera's recordings that a request asks for.

use super::coverage::Interval;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest `cameraId`, in characters.
pub const MAX_CAMERA_ID: usize = 128;

/// An interval of a camera's recordings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CameraWindow {
    /// The camera.
    pub camera_id: String,
    /// The interval.
    #[serde(flatten)]
    pub interval: Interval,
    /// How much of it must exist.
    pub coverage: RequiredCoverage,
}

/// How much of a window recordings must cover.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RequiredCoverage {
    /// All of it.
    #[default]
    Complete,
    /// Anything; the clip is what is there.
    Partial,
}

/// Whether `text` can be a `cameraId`: 1 to [`MAX_CAMERA_ID`] of `A-Z a-z 0-9 _ - . /`, which need no escaping in an S3
/// key.
#[must_use]
pub fn is_camera_id(text: &str) -> bool {
    (1..=MAX_CAMERA_ID).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-./".contains(&b))
}
