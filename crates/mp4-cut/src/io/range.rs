//! What a source has to do: read a range of its bytes.

use crate::error::{Error, Result};
use bytes::Bytes;
use std::ops::Range;

/// A source that can be read by byte range: an object in a store, a file, or bytes in memory.
pub trait RangeRead: Send + Sync {
    /// The length of the source, in bytes.
    fn len(&self) -> u64;

    /// Whether the source has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads exactly `range`, in bytes, which is within the length.
    ///
    /// # Errors
    /// Any error from the source, as [`Error::Read`].
    fn read(&self, range: Range<u64>) -> impl Future<Output = Result<Bytes>> + Send;
}

impl RangeRead for Bytes {
    fn len(&self) -> u64 {
        Bytes::len(self) as u64
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        match (usize::try_from(range.start), usize::try_from(range.end)) {
            (Ok(start), Ok(end)) if start <= end && end <= Bytes::len(self) => {
                Ok(self.slice(start..end))
            }
            _ => Err(Error::internal(format!(
                "read of bytes {range:?} beyond the end"
            ))),
        }
    }
}
