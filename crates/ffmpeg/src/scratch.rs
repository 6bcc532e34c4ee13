//! Working space, within a budget, and cleaned however the work ends.

use bytes::Bytes;
use futures::{Stream, TryStreamExt, pin_mut};
use model::error::ClipError;
use std::path::{Path, PathBuf};
use tokio::io::AsyncWriteExt;

/// A folder of one's own, removed when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    /// Makes the folder, once `wanted` bytes are known to fit into `budget` bytes.
    ///
    /// # Errors
    /// `TrimBudgetExceeded` when they do not fit; `Internal` when the folder cannot be made.
    pub fn new(wanted: u64, budget: u64) -> Result<Self, ClipError> {
        Self::check(wanted, budget)?;
        Self::within(&std::env::temp_dir())
    }

    /// Checks that `wanted` bytes fit into `budget` bytes.
    ///
    /// # Errors
    /// `TrimBudgetExceeded` when they do not.
    pub fn check(wanted: u64, budget: u64) -> Result<(), ClipError> {
        if wanted > budget {
            let message = format!(
                "the clip needs {wanted} bytes of working space, the function has {budget}"
            );
            return Err(ClipError::trim_budget_exceeded(message));
        }
        Ok(())
    }

    /// Makes the folder within another, without a budget.
    ///
    /// # Errors
    /// `Internal` when the folder cannot be made.
    pub fn within(parent: &Path) -> Result<Self, ClipError> {
        let folder = tempfile::Builder::new()
            .prefix(".clipflow-")
            .tempdir_in(parent);
        Ok(Self {
            folder: folder.map_err(|error| {
                let parent = parent.display();
                ClipError::internal(format!("making a folder in {parent}: {error}"))
            })?,
        })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The path of a file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file in it.
    ///
    /// # Errors
    /// The stream's own; `Internal` when the file cannot be written.
    pub async fn save(
        &self,
        name: &str,
        content: impl Stream<Item = Result<Bytes, impl Into<ClipError>>>,
    ) -> Result<(), ClipError> {
        let failed =
            |error: std::io::Error| ClipError::internal(format!("writing {name}: {error}"));
        let mut file = tokio::fs::File::create(self.file(name))
            .await
            .map_err(failed)?;
        pin_mut!(content);
        while let Some(part) = content.try_next().await.map_err(Into::into)? {
            file.write_all(&part).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ErrorKind;

    #[test]
    fn folder_is_gone_after_a_failure() {
        let fail = |seen: &mut PathBuf| -> Result<(), ClipError> {
            let scratch = Scratch::new(1, 1)?;
            std::fs::write(scratch.file("window.mp4"), "x").unwrap();
            scratch.path().clone_into(seen);
            Err(ClipError::internal("the step fails"))
        };
        let mut seen = PathBuf::new();
        fail(&mut seen).expect_err("it fails");
        assert!(!seen.as_os_str().is_empty() && !seen.exists());
    }

    #[test]
    fn more_than_the_budget_is_refused_beforehand() {
        assert_eq!(
            Scratch::new(11, 10).expect_err("it does not fit").kind,
            ErrorKind::TrimBudgetExceeded
        );
    }
}
