//! Cutting: one interval, several joined, and smart cuts.

pub(crate) mod concat;
mod media;
mod pictures;
pub(crate) mod smart;
pub(crate) mod window;
