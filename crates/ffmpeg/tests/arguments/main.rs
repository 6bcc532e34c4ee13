//! Snapshots of the arguments that `FFmpeg` is run with.
//!
//! The program runs itself again with a `PATH` on which `ffmpeg` is a script that records its arguments and then runs
//! the real one.

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod common;
mod encodes;
mod runs;

use expect_test::expect_file;
use libtest_mimic::{Arguments, Trial};
use std::{fmt::Write, process::ExitCode};

fn main() -> ExitCode {
    if let Some(code) = runs::record() {
        return code;
    }
    let mut arguments = Arguments::from_args();
    // All runs are recorded in one file.
    arguments.test_threads = Some(1);
    let encodes = encodes::ALL.iter().map(|(name, edits, cuts)| {
        trial(&format!("encode_{name}"), || {
            encodes::arguments(edits, cuts)
        })
    });
    let runs = runs::ALL.iter().map(|(name, run)| trial(name, *run));
    libtest_mimic::run(&arguments, encodes.chain(runs).collect()).exit_code()
}

/// Checks that `told` returns the stored snapshot.
fn trial(name: &str, told: impl FnOnce() -> String + Send + 'static) -> Trial {
    let file = format!("../snapshots/{name}.txt");
    Trial::test(format!("snapshot_of_{name}"), || {
        expect_file![file].assert_eq(&told());
        Ok(())
    })
}

/// Puts each option with its values, and each filter of a graph, on its own line.
fn lines(arguments: impl IntoIterator<Item = String>) -> String {
    let mut lines = String::new();
    for argument in arguments {
        let is_option = argument.starts_with('-') && !argument.ends_with(char::is_numeric);
        let separator = if is_option || lines.is_empty() {
            "\n"
        } else {
            " "
        };
        let broken = argument.replace(';', ";\n    ");
        write!(lines, "{separator}{broken}").expect("a string");
    }
    lines.trim_start().to_owned() + "\n"
}
