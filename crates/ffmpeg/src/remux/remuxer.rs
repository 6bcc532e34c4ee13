//! What reading other containers takes.

use crate::{
    process::{Ffmpeg, Limits},
    scratch::Scratch,
};
use model::{ClipError, error::REMUX};

/// What reading other containers takes.
#[derive(Debug, Clone, Copy)]
pub struct Remuxer<'a> {
    /// The program.
    pub ffmpeg: &'a Ffmpeg,
    /// Where excerpts are written.
    pub scratch: &'a Scratch,
    /// What each run may use.
    pub limits: Limits,
    /// The largest source, in bytes, that is read from its start because nothing in it leads to an interval.
    pub max_whole_bytes: u64,
}

impl Remuxer<'_> {
    /// Refuses to read all of a source of so many bytes, whose container is `name`, where that is too much.
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
