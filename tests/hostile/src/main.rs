//! `make hostile`: runs many hostile files through the functions.

use hostile::{
    canary::Canary,
    cases,
    judge::{self, Verdict},
    media::Media,
    worker::{self, Said},
};
use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

const USAGE: &str = "\
Runs files that mean harm through the functions, and finds fault.

Usage: make hostile [SEED=1] [COUNT=1000] [ONLY=NAME]

Besides those that are always the same, COUNT files are made of good ones by SEED. ONLY keeps those whose name has a
text in it. A file at which something is wrong is kept in target/hostile/. Ends with 1 if there is one.";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().ok();
    match arguments[..] {
        ["work"] => {
            worker::work();
            ExitCode::SUCCESS
        }
        [seed, count, ref only @ ..] if only.len() < 2 => match (number(seed), number(count)) {
            (Some(seed), Some(count)) => {
                run(seed, count, only.first().copied().unwrap_or_default())
            }
            _ => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

fn run(seed: u64, count: u64, only: &str) -> ExitCode {
    let media = Media::make();
    let canary = Canary::new(&media.silent);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let mut cases = cases(&media, &canary.bait, seed, count);
    cases.retain(|case| case.name.contains(only));
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/hostile"));
    let program = env::current_exe().expect("this program");
    let done = AtomicUsize::new(0);
    let all = 2 * cases.len();
    let heard = |verdict: &Verdict| {
        let done = done.fetch_add(1, Relaxed) + 1;
        if !verdict.faults.is_empty() || !only.is_empty() {
            println!("{done}/{all} {}", said(verdict));
        }
    };
    let processes = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let verdicts = judge::run(&program, &cases, processes, heard);
    summarize(&verdicts);
    let faulty: Vec<_> = verdicts
        .iter()
        .filter(|verdict| !verdict.faults.is_empty())
        .collect();
    for case in cases.iter().filter(|case| {
        faulty
            .iter()
            .any(|verdict| verdict.name.starts_with(&case.name))
    }) {
        std::fs::create_dir_all(folder).expect("a folder");
        std::fs::write(file(folder, &case.name), &case.file).expect("room for the file");
    }
    let visits = canary.visits();
    println!(
        "seed {seed}: {} files, {} faults, {visits} visits to the canary",
        cases.len(),
        faulty.len()
    );
    if faulty.is_empty() && visits == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn file(folder: &Path, name: &str) -> PathBuf {
    let plain = |character: char| {
        if character.is_alphanumeric() {
            character
        } else {
            '-'
        }
    };
    folder.join(name.chars().map(plain).take(120).collect::<String>())
}

fn said(verdict: &Verdict) -> String {
    let Verdict {
        name,
        said,
        took,
        faults,
        ..
    } = verdict;
    format!("{name}: {:.1} s, {said:?} {faults:?}", took.as_secs_f64())
}

/// Prints how many ended in which way, and which took the most time and memory.
fn summarize(verdicts: &[Verdict]) {
    let count = |of: fn(&Said) -> bool| {
        verdicts
            .iter()
            .filter_map(|one| one.said.as_ref())
            .filter(|said| of(said))
            .count()
    };
    let delivered = count(|said| matches!(said, Said::Delivered { .. }));
    let raised = count(|said| matches!(said, Said::Raised { .. }));
    let handed_over = count(|said| matches!(said, Said::HandedOver(_)));
    println!("{delivered} delivered, {raised} rejected, {handed_over} for MediaConvert");
    if let Some(slowest) = verdicts.iter().max_by_key(|verdict| verdict.took) {
        println!(
            "slowest: {} ({:.1} s)",
            slowest.name,
            slowest.took.as_secs_f64()
        );
    }
    for step in ["Probe", "Trim", "Verify", "Thumbnail"] {
        let peak = |verdict: &&Verdict| verdict.peaks.get(step).copied().unwrap_or(0);
        if let Some(largest) = verdicts.iter().max_by_key(peak) {
            println!(
                "most memory of {step}: {} MB ({})",
                peak(&largest) >> 20,
                largest.name
            );
        }
    }
}
