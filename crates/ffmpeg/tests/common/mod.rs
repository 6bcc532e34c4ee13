//! Shared by all tests of cuts: sources built by `FFmpeg`, cuts of them, and the checks on clips.

#[path = "../../../mp4-cut/tests/common/boxes.rs"]
pub mod boxes;
pub mod conform;
#[path = "../../../mp4-cut/tests/common/counted.rs"]
pub mod counted;
pub mod ffmpeg;
pub mod fields;
pub mod kinds;
pub mod lengths;
pub mod property;
pub mod smart;
pub mod source;
#[path = "../../../mp4-cut/tests/common/synthetic.rs"]
pub mod synthetic;
