//! Sandboxes programs that decode untrusted files: the kernel denies them other files, connections and programs.
//!
//! There are three walls, each used if the kernel has it: [Landlock] for files and ports, seccomp for system calls, and
//! resource limits of the process. None needs privileges, and none is required: without them, the program still runs.
//! What the kernel supports is detected and logged once.
//!
//! Landlock and seccomp apply to the thread that sets them up and to what it starts. So each program is started by a
//! short-lived thread that confines itself first; this process stays unrestricted. Starting `FFmpeg` takes 9 ms, half a
//! millisecond of it for this.
//!
//! [Landlock]: https://docs.kernel.org/userspace-api/landlock.html

use std::{io, sync::OnceLock};
use tokio::process::{Child, Command};

#[cfg(target_os = "linux")]
mod linux;
mod reach;

pub use reach::{Cage, Walls};

#[cfg(target_os = "linux")]
use linux::{confine, find};

/// Detects which walls the kernel supports, and logs it, once.
#[must_use]
pub fn walls() -> Walls {
    static FOUND: OnceLock<Walls> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let found = find();
        let Walls {
            files,
            ports,
            calls,
        } = found;
        tracing::info!(files, ports, calls, "what the kernel keeps FFmpeg in");
        found
    })
}

/// Starts a program in a cage; its path must be absolute. If that is refused, it is started outside.
///
/// # Errors
/// If the program cannot be started.
pub fn spawn(command: &mut Command, cage: &Cage) -> io::Result<Child> {
    let walls = walls();
    if !walls.files && !walls.calls {
        return command.spawn();
    }
    let runtime = tokio::runtime::Handle::current();
    let caged = std::thread::scope(|scope| {
        let start = || {
            let _inside = runtime.enter();
            confine(command, cage, walls)?;
            command.spawn()
        };
        let thread = std::thread::Builder::new().spawn_scoped(scope, start)?;
        thread
            .join()
            .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
    });
    caged.or_else(|error| {
        if error.kind() != io::ErrorKind::NotFound {
            tracing::warn!("a program cannot be started in its cage: {error}");
        }
        command.spawn()
    })
}

#[cfg(not(target_os = "linux"))]
fn find() -> Walls {
    Walls {
        files: false,
        ports: false,
        calls: false,
    }
}

#[cfg(not(target_os = "linux"))]
fn confine(_: &Command, _: &Cage, _: Walls) -> io::Result<()> {
    Ok(())
}
