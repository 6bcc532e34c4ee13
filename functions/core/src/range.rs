//! Reading a source by byte range, never whole.

use crate::error::ClipError;
use bytes::Bytes;
use std::ops::Range;

/// Something that can be read by byte range: an S3 object, or bytes in memory in tests.
pub trait RangeRead: Send + Sync {
    /// The length of the whole, in bytes.
    fn len(&self) -> u64;

    /// Whether there is nothing to read.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads exactly `range`, which must lie within the length.
    ///
    /// # Errors
    /// Whatever the source raises: for an S3 object `SourceNotFound` when it is gone or changed and
    /// `DependencyUnavailable` when S3 does not answer.
    fn read(&self, range: Range<u64>) -> impl Future<Output = Result<Bytes, ClipError>> + Send;
}

impl RangeRead for Bytes {
    fn len(&self) -> u64 {
        Bytes::len(self) as u64
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, ClipError> {
        let within = |at: u64| usize::try_from(at).ok().filter(|at| *at <= Bytes::len(self));
        match (within(range.start), within(range.end)) {
            (Some(start), Some(end)) if start <= end => Ok(self.slice(start..end)),
            _ => Err(ClipError::internal(format!("read of bytes {range:?} beyond the end"))),
        }
    }
}
