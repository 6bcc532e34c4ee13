//! Many clips at once, and the CPU time of each function for one.

use crate::{
    Outcome,
    lambda::Function,
    measures::{Bench, CLIP_SECONDS, COPY, ENCODE, Line, PAIRS, float, start_of, text},
    report::Row,
    s3::Network,
    sources::long,
};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How many clips are made at each number in flight.
const CLIPS: u32 = 16;
/// The length of the source, in minutes.
const MINUTES: u32 = 60;

/// A line of functions that makes whole clips.
struct Maker {
    line: Line,
    verify: Function,
    thumbnail: Function,
}

impl Maker {
    fn new(bench: &Bench) -> Outcome<Self> {
        let line = bench.line(Network::S3_LIKE)?;
        Ok(Self {
            verify: bench.function("verify", &line.server)?,
            thumbnail: bench.function("thumbnail", &line.server)?,
            line,
        })
    }

    /// Probes, cuts and verifies a clip; returns the event for `thumbnail`.
    fn make(&self, cut: &str, start: f64) -> Outcome<Value> {
        let mut event =
            self.line
                .plan(&long(MINUTES, "front"), start, start + CLIP_SECONDS, cut)?;
        let (trimmed, _) = self.line.trim.invoke(&event)?;
        event["clip"] = trimmed["clip"].clone();
        event["engine"] = trimmed["engine"].clone();
        let (delivered, _) = self.verify.invoke(&event)?;
        Ok(json!({
            "execution": event["execution"], "request": event["request"], "clip": event["clip"], "delivered": delivered,
        }))
    }
}

/// Where the clip with this number starts: each one second later, so that encoded heads differ in length.
fn start(number: u32) -> f64 {
    start_of(MINUTES) + f64::from(number)
}

/// Clips per second with 1, 4 and 16 in flight, and the time per clip relative to `FFmpeg` under xargs.
pub fn throughput(bench: &Bench) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for (cut, options) in [("exact", ENCODE), ("copy", COPY)] {
        for in_flight in [1, 4, 16] {
            let mut makers = (0..in_flight)
                .map(|_| Maker::new(bench))
                .collect::<Outcome<Vec<_>>>()?;
            let ours = together(&mut makers, cut)?;
            drop(makers);
            let theirs = xargs(bench, in_flight, options)?;
            let of = format!("{cut}, {in_flight} in flight");
            let rate = f64::from(CLIPS) / ours.as_secs_f64();
            rows.push(Row::new(
                format!("probe, trim and verify, {of}"),
                rate,
                "clips/s",
                None,
            ));
            // At least 0.9 times as many clips per second.
            let limit = (cut == "exact" && in_flight == 16).then_some(1.0 / 0.9);
            let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
            let what =
                format!("time of a clip, {of}, relative to xargs and FFmpeg on a local file");
            rows.push(Row::new(what, ratio, "×", limit));
        }
        rows.extend(processor_times(bench, cut)?);
    }
    Ok(rows)
}

/// The time in which all clips are made, divided evenly among the makers.
fn together(makers: &mut [Maker], cut: &str) -> Outcome<Duration> {
    // Warm up the functions, as in a burst.
    let count = makers.len();
    for maker in &*makers {
        maker.make(cut, start(0))?;
    }
    let begun = Instant::now();
    let failures: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(makers)
            .map(|(first, maker)| {
                scope.spawn(move || -> Result<(), String> {
                    for number in (first..CLIPS).step_by(count) {
                        maker
                            .make(cut, start(number))
                            .map_err(|error| error.to_string())?;
                    }
                    Ok(())
                })
            })
            .collect();
        let ended = threads
            .into_iter()
            .map(|thread| thread.join().expect("no thread panics"));
        ended.filter_map(Result::err).collect()
    });
    match failures.into_iter().next() {
        None => Ok(begun.elapsed()),
        Some(failure) => Err(failure.into()),
    }
}

/// The time in which `FFmpeg` under xargs makes the same clips from a local file.
fn xargs(bench: &Bench, in_flight: usize, options: &str) -> Outcome<Duration> {
    let folder = bench.folder.join("xargs");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let source = bench.source(&long(MINUTES, "front"));
    let source = text(&source)?;
    let mut list = Vec::new();
    for number in 0..CLIPS {
        let (start, clip) = (start(number), folder.join(format!("{number}.mp4")));
        writeln!(
            list,
            "-nostdin -v error -y -threads 2 -ss {start} -i '{source}' -t {CLIP_SECONDS} {options} '{}'",
            text(&clip)?
        )?;
    }
    let begun = Instant::now();
    let mut child = Command::new("xargs")
        .args(["-P", &in_flight.to_string(), "-L", "1", "ffmpeg"])
        .stdin(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .ok_or("xargs has no input")?
        .write_all(&list)?;
    let status = child.wait()?;
    if !status.success() {
        return Err(format!("xargs: {status}").into());
    }
    Ok(begun.elapsed())
}

/// The CPU time of one clip, by function.
fn processor_times(bench: &Bench, cut: &str) -> Outcome<Vec<Row>> {
    let maker = Maker::new(bench)?;
    let functions = [
        ("validate", &maker.line.validate),
        ("probe", &maker.line.probe),
        ("trim", &maker.line.trim),
        ("verify", &maker.verify),
        ("thumbnail", &maker.thumbnail),
    ];
    let times = || {
        functions
            .iter()
            .map(|(_, function)| function.processor_time())
            .collect::<Outcome<Vec<_>>>()
    };
    maker.thumbnail.invoke(&maker.make(cut, start(0))?)?;
    let before = times()?;
    for _ in 0..PAIRS {
        maker.thumbnail.invoke(&maker.make(cut, start(0))?)?;
    }
    let rows = functions
        .iter()
        .zip(before)
        .zip(times()?)
        .map(|(((name, _), before), after)| {
            let each = after.saturating_sub(before).as_secs_f64() * 1000.0 / float(PAIRS as u64);
            Row::new(
                format!("processor time of {name} for a clip, {cut}"),
                each,
                "ms",
                None,
            )
        });
    Ok(rows.collect())
}
