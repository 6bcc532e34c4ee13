//! What clipflow's functions share.

pub mod aws;
pub mod config;
pub mod console;
pub mod edits;
pub mod encode;
pub mod error;
pub mod execution;
pub mod ffmpeg;
pub mod identity;
mod kept;
pub mod loopback;
pub mod media;
pub mod mediaconvert;
pub mod mp4;
pub mod outcome;
pub mod plan;
pub mod prices;
pub mod quality;
pub mod range;
pub mod recordings;
pub mod records;
pub mod rendition;
pub mod request;
pub mod run;
pub mod scratch;
pub mod smart;
pub mod sound;
pub mod source;
pub mod text;
pub mod time;
pub mod timestamp;
pub mod topic;
pub mod upload;

pub use error::{ClipError, ErrorKind};
