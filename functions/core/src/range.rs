//! Reading a source by byte range, never whole.

use crate::error::ClipError;
use bytes::Bytes;
use std::{
    fs::File,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Something that can be read by byte range: an S3 object, a file, or bytes in memory in tests.
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
        let within = |at: u64| {
            usize::try_from(at)
                .ok()
                .filter(|at| *at <= Bytes::len(self))
        };
        match (within(range.start), within(range.end)) {
            (Some(start), Some(end)) if start <= end => Ok(self.slice(start..end)),
            _ => Err(ClipError::internal(format!(
                "read of bytes {range:?} beyond the end"
            ))),
        }
    }
}

/// A file of this machine.
#[derive(Debug, Clone)]
pub struct LocalFile {
    file: Arc<File>,
    path: PathBuf,
    bytes: u64,
}

impl LocalFile {
    /// Opens a file, which must not change while it is read.
    ///
    /// # Errors
    /// `Internal` when it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, ClipError> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (bytes, file) = opened
            .map_err(|error| ClipError::internal(format!("opening {}: {error}", path.display())))?;
        Ok(Self {
            file: Arc::new(file),
            path: path.to_owned(),
            bytes,
        })
    }
}

impl RangeRead for LocalFile {
    fn len(&self) -> u64 {
        self.bytes
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, ClipError> {
        let Self { file, path, .. } = self.clone();
        let read = move || {
            let mut part = vec![
                0;
                usize::try_from(range.end.saturating_sub(range.start))
                    .unwrap_or(usize::MAX)
            ];
            match file.read_exact_at(&mut part, range.start) {
                Ok(()) => Ok(part.into()),
                Err(error) => Err(ClipError::internal(format!(
                    "reading {} at byte {}: {error}",
                    path.display(),
                    range.start
                ))),
            }
        };
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(|error| ClipError::internal(format!("reading a file: {error}")))?
    }
}
