//! Cutting: one interval, several joined, and smart cuts.

pub(crate) mod audio_decoder;
pub(crate) mod concat;
mod media;
mod pictures;
pub(crate) mod smart;
pub(crate) mod window;
