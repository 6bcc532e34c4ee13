//! Another program that cuts the same way: smartcut, from `PyPI` (`local/requirements-peer.in`).

use crate::{
    Outcome,
    measures::{Bench, CLIP_SECONDS, PAIRS, describe, float, median, start_of},
    report::Row,
    sources::long,
    usage::{self, Usage},
};
use std::{fs, process::Command};

/// Time, CPU time and memory of an exact cut, relative to smartcut's.
pub fn peer(bench: &Bench) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for minutes in [10, 60] {
        let (mut wall, mut processor, mut memory) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..PAIRS {
            let (ours, theirs) = (ours(bench, minutes)?, theirs(bench, minutes)?);
            wall.push(ours.wall.as_secs_f64() / theirs.wall.as_secs_f64());
            processor.push(ours.processor.as_secs_f64() / theirs.processor.as_secs_f64());
            memory.push(float(ours.peak_bytes) / float(theirs.peak_bytes));
        }
        for (what, ratios) in [
            ("time", wall),
            ("processor time", processor),
            ("largest program", memory),
        ] {
            let of = describe(minutes);
            let what = format!("clipflow cut, exact out of {of}: {what}, relative to smartcut's");
            rows.push(Row::new(what, median(ratios), "×", Some(0.25)));
        }
    }
    Ok(rows)
}

fn ours(bench: &Bench, minutes: u32) -> Outcome<Usage> {
    let start = start_of(minutes);
    let clip = bench.folder.join("ours.mp4");
    let _ = fs::remove_file(&clip);
    usage::of(
        Command::new(bench.programs.join("clipflow"))
            .arg("cut")
            .arg(bench.source(&long(minutes, "front")))
            .args([
                "--start",
                &start.to_string(),
                "--end",
                &(start + CLIP_SECONDS).to_string(),
                "-o",
            ])
            .arg(clip),
    )
}

fn theirs(bench: &Bench, minutes: u32) -> Outcome<Usage> {
    let start = start_of(minutes);
    let clip = bench.folder.join("theirs.mp4");
    let _ = fs::remove_file(&clip);
    let local = bench.root.join("target/local");
    usage::of(
        Command::new(local.join("venv/bin/python"))
            .env("PYTHONPATH", local.join("peer"))
            .args(["-m", "smartcut"])
            .args([bench.source(&long(minutes, "front")), clip])
            .args(["--keep", &format!("{start},{}", start + CLIP_SECONDS)]),
    )
}
