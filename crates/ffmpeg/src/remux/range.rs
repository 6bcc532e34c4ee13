//! An interval of a source, and where its samples are.

use bytes::Bytes;
use mp4_cut::{
    Movie,
    io::{LocalFile, RangeRead},
};
use std::ops::Range;

/// An interval of a source, ready to be cut.
#[derive(Debug)]
pub struct RemuxedRange<S> {
    /// What the interval is cut from, with the source's own times.
    pub movie: Movie,
    /// Where its samples are.
    pub samples: Samples<S>,
    /// How far before the interval reading began, in seconds; `None` if an index says where to begin.
    pub lead_seconds: Option<f64>,
}

/// Where the samples of an excerpt are: in the source itself, or in a file made from it.
#[derive(Debug, Clone)]
pub enum Samples<S> {
    /// The source.
    Source(S),
    /// A file in the working folder.
    File(LocalFile),
}

impl<S: RangeRead> RangeRead for Samples<S> {
    fn len(&self) -> u64 {
        match self {
            Self::Source(source) => source.len(),
            Self::File(file) => file.len(),
        }
    }

    async fn read(&self, range: Range<u64>) -> mp4_cut::Result<Bytes> {
        match self {
            Self::Source(source) => source.read(range).await,
            Self::File(file) => file.read(range).await,
        }
    }
}
