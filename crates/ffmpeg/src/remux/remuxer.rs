//! What reading other containers takes.

use crate::{
    process::{Ffmpeg, Limits},
    scratch::Scratch,
};
use model::{ClipError, error::REMUX};

/// What is needed to read other containers.
#[derive(Debug, Clone, Copy)]
pub struct Remuxer<'a> {
    /// The program.
    pub ffmpeg: &'a Ffmpeg,
    /// Where excerpts are written.
    pub scratch: &'a Scratch,
    /// What each run may use.
    pub limits: Limits,
    /// The largest source, in bytes, that is read from its start because it has no index.
    pub max_whole_bytes: u64,
}

impl Remuxer<'_> {
    /// Refuses to read a whole source of `bytes` in the container `name` if it is too large.
    pub(super) fn check_whole(&self, name: &str, bytes: u64) -> Result<(), ClipError> {
        let max_bytes = self.max_whole_bytes;
        if bytes > max_bytes {
            return Err(ClipError::unsupported_media(format!(
                "the source is {name} without an index that leads to every interval, and has {bytes} bytes; up to \
                 {max_bytes} it is read from its start: {REMUX}"
            )));
        }
        Ok(())
    }
}
