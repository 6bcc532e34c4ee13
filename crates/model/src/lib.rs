//! The data that the steps exchange: requests, plans, outcomes and errors. This crate does no I/O.

pub mod clip_spec;
pub mod console;
pub mod damage;
pub mod edits;
pub mod error;
pub mod execution;
pub mod expected;
pub mod frame_grid;
pub mod identity;
pub mod job_metadata;
pub mod number;
pub mod outcome;
pub mod plan;
pub mod prices;
pub mod quality;
pub mod recordings;
pub mod request;
pub mod sent;
pub mod source;
pub mod text;
pub mod time;
pub mod timestamp;

pub use error::{ClipError, ErrorKind, parse};
