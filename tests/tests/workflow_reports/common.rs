//! Shared with the tests of crates/ffmpeg.

#[path = "../../../crates/ffmpeg/tests/common/ffmpeg.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
pub mod ffmpeg;
