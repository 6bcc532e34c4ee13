//! MP4 and MOV: the index of a source, and an interval of it as a small file of its own.
//!
//! A clip costs what the clip weighs: [`Movie::read`] reads a source's index by byte range, [`Movie::window`] chooses
//! the samples that an interval needs, and [`Window::stream`] fetches their bytes and yields them as a self-contained
//! MP4 whose edit lists show exactly the interval. [`Join`] puts several of them into one file.
//!
//! Sample descriptions, and whatever else this crate need not understand, are passed on byte for byte. Tables are read
//! where they stand in the index, so that memory is the index and little more. All times are integers in the tracks' own
//! timescales.

mod avc;
mod boxes;
mod codec;
mod container;
pub(crate) mod fetch;
mod index;
mod join;
mod movie;
mod samples;
mod sniff;
mod splice;
mod time;
mod track;
mod window;
mod write;

pub use container::{Container, Fragments, Skipping};
pub use index::MAX_INDEX_BYTES;
pub use join::Join;
pub(crate) use movie::no_video;
pub use movie::{AudioFacts, Facts, Movie, Opened, Remuxed, VideoFacts};
pub use splice::{Encoded, Splice, SpliceFacts, Spliced, SplicedCut, Unspliced};
pub(crate) use window::check_interval;
pub use window::{Window, WindowFacts};
