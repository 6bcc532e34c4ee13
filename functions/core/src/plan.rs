//! What `probe` finds out about a request's sources, and the later steps work from.

use crate::{
    mp4::{Facts, WindowFacts},
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
}

/// The plan of a cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The sources.
    pub sources: Vec<ProbedSource>,
    /// The cuts, joined in this order.
    pub segments: Vec<PlannedSegment>,
}

impl Plan {
    /// Tells whether two plans read the same versions of the same sources: 12 hexadecimal digits.
    #[must_use]
    pub fn sources_digest(&self) -> String {
        let mut digest = Sha256::new();
        for source in &self.sources {
            digest.update(format!("{}/{} {}\n", source.object.bucket, source.object.key, source.object.etag));
        }
        hex::encode(digest.finalize())[..12].to_owned()
    }
}
