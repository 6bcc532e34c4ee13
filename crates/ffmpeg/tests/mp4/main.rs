//! An interval of a source as a file of its own: what is in it, and what is shown of it.

mod browser;
mod conformance;
mod containers;
mod edited;
mod ffmpeg;
mod footage;
mod joined;
mod joined_smart;
mod quicktime;
mod smart;
mod sound;
#[path = "../../../mp4-cut/tests/common/synthetic.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod synthetic;
