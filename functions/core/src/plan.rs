//! What `probe` finds out about a request's sources, and the later steps work from.

use crate::{
    media::excerpt_bytes,
    mp4::{Facts, SpliceFacts, WindowFacts},
    recordings::Coverage,
    source::PinnedObject,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A source, pinned and described.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbedSource {
    /// The object as it was seen.
    pub object: PinnedObject,
    /// What it holds.
    pub facts: Facts,
}

/// A cut, on its source's frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedSegment {
    /// Its source's place in the list of sources.
    pub source: usize,
    /// What is cut.
    pub window: WindowFacts,
    /// How much of it is encoded and copied, in a clip that is made of both; `None` in others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub splice: Option<SpliceFacts>,
    /// How far before the cut its source is read from, in seconds, where no index tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead_seconds: Option<f64>,
}

/// A picture that is laid over the clip, pinned and measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbedPicture {
    /// The object as it was seen.
    pub object: PinnedObject,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// The plan of a cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The sources.
    pub sources: Vec<ProbedSource>,
    /// The cuts, joined in this order.
    pub segments: Vec<PlannedSegment>,
    /// What of a camera's window there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    /// The watermark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<ProbedPicture>,
}

impl Plan {
    /// The working space that excerpts of sources without an index take at the most, in bytes.
    #[must_use]
    pub fn excerpts_bytes(&self) -> u64 {
        let remuxed = self.segments.iter().filter(|segment| self.sources[segment.source].facts.remuxed.is_some());
        remuxed.map(|segment| excerpt_bytes(segment.window.output_bytes)).sum()
    }

    /// Tells whether two plans read the same versions of the same sources: 12 hexadecimal digits.
    #[must_use]
    pub fn sources_digest(&self) -> String {
        let mut digest = Sha256::new();
        let watermark = self.watermark.iter().map(|picture| &picture.object);
        for object in self.sources.iter().map(|source| &source.object).chain(watermark) {
            digest.update(format!("{}/{} {}\n", object.bucket, object.key, object.etag));
        }
        hex::encode(digest.finalize())[..12].to_owned()
    }
}
