//! Public bug reports about programs that cut video. For each, a source is built and cut by clipflow, whose clip has to
//! be right, and by the `FFmpeg` command that people use. docs/bug-reports.md compares both.
//!
//! `UPDATE_EXPECT=1` rewrites the page.

mod clips;
#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod common;
mod footage;
mod measure;
#[allow(dead_code, reason = "other tests use the rest")]
mod page;
mod peer;
mod report;
mod suite;
mod table;

use std::process::ExitCode;

fn main() -> ExitCode {
    suite::run(page::Page::commands(), table::reports(), clips::clipflow)
}
