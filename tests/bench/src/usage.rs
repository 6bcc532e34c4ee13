//! The resources that a program uses: time, CPU time and memory.

use crate::Outcome;
use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use wait4::Wait4;

/// Clock ticks per second in `/proc` (proc(5): `sysconf(_SC_CLK_TCK)`, 100 on every Linux that Rust supports).
const TICKS_PER_SECOND: f64 = 100.0;

/// The resources that a program used until it ended, including programs that it started and waited for.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    pub wall: Duration,
    pub processor: Duration,
    /// The peak resident memory of any one of the programs.
    pub peak_bytes: u64,
}

/// Runs a program to its end.
///
/// # Errors
/// If it cannot be started or fails.
pub fn of(command: &mut Command) -> Outcome<Usage> {
    let begun = Instant::now();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let ended = child.wait4()?;
    let wall = begun.elapsed();
    if !ended.status.success() {
        return Err(format!("{command:?}: {}", ended.status).into());
    }
    Ok(Usage {
        wall,
        processor: ended.rusage.utime + ended.rusage.stime,
        peak_bytes: ended.rusage.maxrss,
    })
}

/// The CPU time so far of a running process and of the programs that it has waited for.
///
/// # Errors
/// If there is no such process.
pub fn processor_time(process: u32) -> Outcome<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat
        .rsplit_once(')')
        .ok_or("a line of /proc without a name")?;
    let ticks = fields.split_whitespace().skip(11).take(4);
    let ticks = ticks.map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(Duration::from_secs_f64(ticks / TICKS_PER_SECOND))
}
