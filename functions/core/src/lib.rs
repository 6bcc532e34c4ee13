//! What clipflow's functions share.

pub mod error;
pub mod mp4;
pub mod range;

pub use error::{ClipError, ErrorKind};
