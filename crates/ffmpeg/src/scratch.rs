//! Scratch space with a budget, cleaned up however the work ends.

use bytes::Bytes;
use futures::{Stream, TryStreamExt, pin_mut};
use model::error::ClipError;
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use tokio::io::AsyncWriteExt;

/// How the names of working folders begin.
const PREFIX: &str = ".clipflow-";
/// A folder younger than this may not be locked yet.
const YOUNG: Duration = Duration::from_secs(1);

/// A private folder, removed on drop.
#[derive(Debug)]
pub struct Scratch {
    folder: tempfile::TempDir,
    /// Locked for as long as the folder is in use.
    _lock: File,
}

/// Removes the working folders of killed processes. When Lambda kills a function for time or memory, it restarts it
/// with the same `/tmp`.
pub fn clean() {
    let folders = std::fs::read_dir(std::env::temp_dir())
        .into_iter()
        .flatten();
    for folder in folders.flatten() {
        let is_ours = folder.file_name().to_string_lossy().starts_with(PREFIX);
        if is_ours && is_left(&folder.path()).unwrap_or(false) {
            let path = folder.path();
            tracing::info!(folder = %path.display(), "removing what an earlier process left");
            // Leftovers only take space; if that runs short, an error says so.
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

/// Whether a folder was left behind: no process uses it.
fn is_left(folder: &Path) -> io::Result<bool> {
    let file = File::open(folder)?;
    let age = SystemTime::now().duration_since(file.metadata()?.modified()?);
    let is_free = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
    Ok(is_free && age.is_ok_and(|age| age >= YOUNG))
}

impl Scratch {
    /// Creates the folder if `wanted` bytes fit into `budget` bytes.
    ///
    /// # Errors
    /// `TrimBudgetExceeded` if they do not fit or the disk is full; `Internal` if the folder cannot be created.
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

    /// Creates the folder inside another, without a budget.
    ///
    /// # Errors
    /// `TrimBudgetExceeded` if the disk is full; `Internal` if the folder cannot be created.
    pub fn within(parent: &Path) -> Result<Self, ClipError> {
        let make = || {
            let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
            let lock = File::open(folder.path())?;
            flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
            Ok((folder, lock))
        };
        let (folder, lock) = make().map_err(|error| {
            failure(&format!("making a folder in {}", parent.display()), &error)
        })?;
        Ok(Self {
            folder,
            _lock: lock,
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
    /// The stream's own; `TrimBudgetExceeded` when the disk is full, `Internal` when the file cannot be written.
    pub async fn save(
        &self,
        name: &str,
        content: impl Stream<Item = Result<Bytes, impl Into<ClipError>>>,
    ) -> Result<(), ClipError> {
        let failed = |error: io::Error| failure(&format!("writing {name}"), &error);
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

fn failure(what: &str, error: &io::Error) -> ClipError {
    let message = format!("{what}: {error}");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ClipError::trim_budget_exceeded(message)
        }
        _ => ClipError::internal(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ErrorKind;
    use std::fs::FileTimes;

    #[test]
    fn folder_of_an_ended_process_is_removed_and_that_of_another_is_not() {
        let age = |folder: &Path| {
            let file = File::open(folder).expect("the folder");
            let then = SystemTime::now() - Duration::from_mins(1);
            let times = FileTimes::new().set_modified(then);
            file.set_times(times).expect("it gets older");
        };
        let used = Scratch::new(0, 0).expect("a folder");
        let left = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir()
            .expect("a folder")
            .keep();
        std::fs::write(left.join("window.mp4"), "x").expect("a file");
        let young = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir()
            .expect("a folder");
        age(used.path());
        age(&left);
        clean();
        assert!(used.path().exists() && young.path().exists() && !left.exists());
    }

    #[tokio::test]
    async fn full_disk_is_too_much_for_the_function() {
        let scratch = Scratch::new(0, 0).expect("a folder");
        std::os::unix::fs::symlink("/dev/full", scratch.file("clip.mp4")).expect("a link");
        let content = futures::stream::iter([Ok::<_, ClipError>(Bytes::from_static(b"x"))]);
        let error = scratch
            .save("clip.mp4", content)
            .await
            .expect_err("it is full");
        assert_eq!(error.kind, ErrorKind::TrimBudgetExceeded, "{error}");
    }

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
