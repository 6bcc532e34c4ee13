//! The numbers that clipflow promises, measured on the functions' own release binaries.
//!
//! Times are ratios between two things measured alternately in one run, because machines differ and are noisy.

mod http;
mod lambda;
mod measures;
mod media;
mod peer;
mod report;
mod s3;
mod sources;
mod throughput;
mod usage;
mod window;

use measures::{Bench, MEASURES};
use report::Results;
use std::{env, error::Error, path::PathBuf, process::ExitCode};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The bucket that clips go to.
const CLIPS: &str = "clips";
/// The bucket with the sources.
const ARCHIVE: &str = "archive";

const USAGE: &str = "\
Measures clipflow's functions and compares the numbers with their limits.

Usage: make bench [ONLY='MEASURE…']

Prints a table and keeps the numbers in target/bench/results.json; once each measure was taken, docs/performance.md has
the newest numbers of all. Exits with 1 if a number is above its limit.

Measures (default: all):";

fn main() -> ExitCode {
    let chosen: Vec<String> = env::args().skip(1).collect();
    let known = |name: &String| MEASURES.iter().any(|measure| measure.name == name);
    if chosen.iter().any(|name| !known(name)) {
        let wants_help = chosen.iter().any(|name| name == "--help" || name == "-h");
        let list = MEASURES
            .iter()
            .map(|measure| format!("\n  {:<12} {}", measure.name, measure.what));
        let text = format!("{USAGE}{}", list.collect::<String>());
        if wants_help {
            println!("{text}");
            return ExitCode::SUCCESS;
        }
        eprintln!("{text}");
        return ExitCode::from(2);
    }
    match run(&chosen) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Takes the measures and reports them, even if some fail. Returns whether all were taken and are within their limits.
fn run(chosen: &[String]) -> Outcome<bool> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).canonicalize()?;
    let bench = Bench::new(&root)?;
    let file = root.join("target/bench/results.json");
    let mut results = Results::read(&file)?;
    let (mut taken, mut failed) = (Vec::new(), false);
    for measure in MEASURES
        .iter()
        .filter(|measure| chosen.is_empty() || chosen.iter().any(|name| name == measure.name))
    {
        eprintln!("measuring {}", measure.what);
        match (measure.take)(&bench) {
            Ok(rows) => {
                results.keep(measure.name, rows, &file)?;
                taken.push(measure.name);
            }
            Err(error) => {
                eprintln!("bench: {}: {error}", measure.name);
                failed = true;
            }
        }
    }
    if let Some(rows) = results.of(MEASURES.iter().map(|measure| measure.name)) {
        report::write_page(&rows, &root.join("docs/performance.md"))?;
    }
    let rows = results.of(taken).unwrap_or_default();
    Ok(report::print(&rows) && !failed)
}
