//! Reading a source by byte range, never whole.

mod cache;
pub(crate) mod fetch;

use crate::{Error, Result};
use bytes::Bytes;
use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use cache::CachedSource;
pub use fetch::{parts, read_parts};

/// Something that can be read by byte range: an object in a store, a file, or bytes in memory.
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
    /// Whatever the source raises, as [`Error::Read`].
    fn read(&self, range: Range<u64>) -> impl Future<Output = Result<Bytes>> + Send;
}

impl RangeRead for Bytes {
    fn len(&self) -> u64 {
        Bytes::len(self) as u64
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let within = |at: u64| {
            usize::try_from(at)
                .ok()
                .filter(|at| *at <= Bytes::len(self))
        };
        match (within(range.start), within(range.end)) {
            (Some(start), Some(end)) if start <= end => Ok(self.slice(start..end)),
            _ => Err(Error::internal(format!(
                "read of bytes {range:?} beyond the end"
            ))),
        }
    }
}

/// A file of this machine. Reads block the thread that polls them.
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
    /// When it cannot be opened, naming it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let open = || {
            let file = File::open(path)?;
            Ok((file.metadata()?.len(), file))
        };
        let (bytes, file) = open().map_err(|error| named("opening", path, &error))?;
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

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let mut part = vec![0; length];
        self.file
            .read_exact_at(&mut part, range.start)
            .map_err(|error| named("reading", &self.path, &error))?;
        Ok(part.into())
    }
}

fn named(doing: &str, path: &Path, error: &io::Error) -> Error {
    io::Error::new(error.kind(), format!("{doing} {}: {error}", path.display())).into()
}
