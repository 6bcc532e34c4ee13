//! Cutting: one interval, several joined, and smart cuts.

pub(crate) mod audio_decoder;
pub(crate) mod concat;
mod described;
mod lengths;
mod media;
mod pictures;
pub(crate) mod smart;
pub(crate) mod window;
