//! A local file as a source.

use crate::error::{Error, Result};
use crate::io::range::RangeRead;
use bytes::Bytes;
use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A local file. Reads block the polling thread.
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
    /// If it cannot be opened; the error names it.
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
