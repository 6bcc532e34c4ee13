//! What all tests of cuts share: sources that `FFmpeg` builds, cuts of them, and what a clip has to be.

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
