//! Cut an MP4 or MOV by byte ranges, without decoding it.
//!
//! A clip costs what the clip weighs: [`Movie::read`] reads a source's index by byte range, [`Movie::window`] chooses
//! the samples that an interval needs, and [`Window::stream`] fetches their bytes and yields them as a self-contained
//! MP4 whose edit lists show exactly the interval. [`Join`] puts several of them into one file.
//!
//! Sample descriptions, and whatever else this crate need not understand, are passed on byte for byte. Tables are read
//! where they stand in the index, so that memory is the index and little more. All times are integers in the tracks' own
//! timescales.

mod boxes;
mod cut;
mod error;
mod h264;
pub mod io;
mod mux;
mod read;
mod time;

pub use boxes::parse::MAX_INDEX_BYTES;
pub use cut::{
    concat::Join,
    smart::{Encoded, SmartClip, SmartCut, SmartCutError, SmartCutFacts, SmartCutInterval},
    window::{Window, WindowFacts},
};
pub use error::{Bound, Error, Result};
pub use read::{
    fragments::{Container, Fragments, HoledSource},
    movie::{AudioFacts, Facts, Movie, Opened, VideoFacts},
};
