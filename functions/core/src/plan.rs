//! What `probe` finds out about a request's sources, and the later steps work from.

use crate::{
    mp4::{Facts, WindowFacts},
    recordings::Coverage,
    source::PinnedObject,
};
use serde::{Deserialize, Serialize};

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
    /// What of a camera's window there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
}
