//! The stack's services: orders to their supervisor, and the processes below it.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::Value;
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

/// Gives the supervisor of the stack's services an order (see `local/guard.py`).
pub fn order(text: &str) {
    let mut control = fs::OpenOptions::new()
        .write(true)
        .open(beside_stack("control"))
        .expect("the pipe");
    writeln!(control, "{text}").expect("the order is given");
}

/// The folder in which the stack's functions work.
#[must_use]
pub fn temporary_folder() -> PathBuf {
    beside_stack("tmp")
}

/// A process of the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pid: Pid,
    /// The file name of its program.
    pub program: String,
}

/// The processes of the stack's services, and all their descendants.
///
/// # Panics
/// If no stack is up.
#[must_use]
pub fn processes() -> Vec<Process> {
    let text = fs::read_to_string(beside_stack("services.json")).expect("the supervisor's status");
    let status: Value = serde_json::from_str(&text).expect("JSON");
    let supervisor = status["supervisor"]["pid"].as_u64().expect("a process");
    let mut found = Vec::new();
    let mut unseen = vec![supervisor.to_string()];
    while let Some(pid) = unseen.pop() {
        unseen.extend(children(&pid));
        found.extend(Process::of(&pid));
    }
    found
}

impl Process {
    /// A running process.
    fn of(pid: &str) -> Option<Self> {
        let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        Some(Self {
            pid: Pid::from_raw(pid.parse().ok()?)?,
            program: program.file_name()?.to_str()?.to_owned(),
        })
    }

    /// Kills it; returns whether it was still running.
    #[must_use]
    pub fn kill(&self) -> bool {
        let Ok(process) = pidfd_open(self.pid, PidfdFlags::empty()) else {
            return false;
        };
        // Process ids are reused: check again after opening it.
        let is_same = Self::of(&self.pid.to_string()).as_ref() == Some(self);
        is_same && pidfd_send_signal(process, Signal::KILL).is_ok()
    }
}

fn children(pid: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let of_thread = |thread: fs::DirEntry| {
        let children = fs::read_to_string(thread.path().join("children"));
        children.unwrap_or_default()
    };
    let all = threads.into_iter().flatten().flatten().map(of_thread);
    all.flat_map(|text| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    })
    .collect()
}

fn beside_stack(name: &str) -> PathBuf {
    let stack = std::env::var("CLIPFLOW_STACK").expect("CLIPFLOW_STACK names a stack.json");
    Path::new(&stack).with_file_name(name)
}
