//! Limits the memory of programs that run at the same time.
//!
//! Lambda kills a function that exceeds its memory without saying why. So we poll the resident memory of the function
//! and its programs, and kill the largest program before that happens. A limit on the address space would not work:
//! threads reserve far more than they use. The kernel's own limit (`RLIMIT_DATA`) stops a single huge allocation, which
//! we would poll too late to see.

use model::error::ClipError;
use rustix::process::Pid;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How often memory is polled: a program fills about 50 MB in that time.
const INTERVAL: Duration = Duration::from_millis(20);
/// What a program may allocate beyond the limit, in bytes: thread stacks, which are mostly never touched.
const STACKS_BYTES: u64 = 1 << 30;
/// Makes the kernel kill this process first when memory is short; from -1000 to 1000 (proc(5), `oom_score_adj`).
const OOM_SCORE: &str = "1000";

/// The memory that programs share with this process.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    limit_bytes: Option<u64>,
    /// The resident memory of the programs that run, by their process ids, in bytes.
    used: Arc<Mutex<BTreeMap<i32, u64>>>,
}

impl Memory {
    /// The memory of a Lambda function. A sixteenth is reserved for growth between two polls.
    #[must_use]
    pub fn of_function(mb: u32) -> Self {
        let bytes = u64::from(mb) << 20;
        Self::of_bytes(bytes - bytes / 16)
    }

    /// A limit, in bytes, for this process and its programs.
    #[must_use]
    pub fn of_bytes(limit_bytes: u64) -> Self {
        Self {
            limit_bytes: Some(limit_bytes),
            used: Arc::default(),
        }
    }

    /// The most that a program may allocate, in bytes.
    pub(crate) fn allocation_bytes(&self) -> Option<u64> {
        self.limit_bytes
            .map(|limit| limit.saturating_add(STACKS_BYTES))
    }

    /// Waits until all programs together use too much and this one is the largest, then returns the error to end it
    /// with. Without a limit, it never returns.
    pub(crate) async fn exceeded(&self, program: Option<Pid>) -> ClipError {
        let (Some(limit_bytes), Some(pid)) = (self.limit_bytes, program.map(Pid::as_raw_pid))
        else {
            return std::future::pending().await;
        };
        // A kernel without this file has no such preference.
        let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), OOM_SCORE);
        let _entry = Entry { memory: self, pid };
        loop {
            tokio::time::sleep(INTERVAL).await;
            let own_bytes = resident_bytes("self");
            let mut used = self.used();
            let bytes = resident_bytes(&pid.to_string());
            used.insert(pid, bytes);
            let is_largest = used.values().all(|other| *other <= bytes);
            if is_largest && own_bytes + used.values().sum::<u64>() > limit_bytes {
                let (mb, limit_mb) = (bytes >> 20, limit_bytes >> 20);
                return ClipError::trim_budget_exceeded(format!(
                    "ffmpeg was ended because it took {mb} MB of the function's {limit_mb} MB of memory"
                ));
            }
        }
    }

    fn used(&self) -> MutexGuard<'_, BTreeMap<i32, u64>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a program until dropped.
struct Entry<'a> {
    memory: &'a Memory,
    pid: i32,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.memory.used().remove(&self.pid);
    }
}

/// The resident memory of a process (proc(5), `status`); 0 for one that has ended.
fn resident_bytes(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    kilobytes
        .and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .map_or(0, |kilobytes| kilobytes << 10)
}
