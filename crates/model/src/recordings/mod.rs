//! A camera's recordings: how their keys say when they began, and which parts of them an interval of clock time needs.

mod coverage;
mod footage;
mod key_template;
mod window;

pub use coverage::{Coverage, Gap, Interval, Piece, pieces};
pub use footage::{Recording, RecordingCut, coverage, cuts, no_frame, unless_empty};
pub use key_template::{KeyTemplate, TemplateError};
pub use window::{CameraWindow, MAX_CAMERA_ID, RequiredCoverage, is_camera_id};
