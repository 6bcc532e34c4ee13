//! Cutting: one interval, several joined, and smart cuts.

pub(crate) mod concat;
pub(crate) mod smart;
pub(crate) mod window;
