//! Reading a source by byte ranges, never whole.

pub(crate) mod cache;
pub(crate) mod fetch;
#[cfg(unix)]
pub(crate) mod file;
pub(crate) mod range;

pub use cache::CachedSource;
pub use fetch::{read_ranges, split_ranges};
#[cfg(unix)]
pub use file::LocalFile;
pub use range::RangeRead;
