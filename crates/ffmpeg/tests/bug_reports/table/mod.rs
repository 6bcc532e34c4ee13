//! The reports of cuts.

mod containers;
mod ends;
mod joints;
mod kept;
mod sound;
mod starts;
mod timing;

use crate::report::Report;

/// All reports.
pub fn reports() -> Vec<Report> {
    [
        starts::reports(),
        ends::reports(),
        sound::reports(),
        joints::reports(),
        containers::reports(),
        timing::reports(),
        kept::reports(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
