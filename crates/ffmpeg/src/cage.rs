//! What the kernel keeps a program from that decodes what strangers wrote: other files, other connections, other programs.
//!
//! Three walls, each where the kernel has it: [Landlock] for files and ports, seccomp for system calls, and the limits of
//! the process itself. None needs privileges, and none is needed: a kernel without them runs the program as before. What
//! there is is found out once, and logged.
//!
//! Both walls hold for the thread that puts them up and for what it starts. So each program is started by a thread that
//! has walled itself in, and ends; this process stays as it is.
//!
//! [Landlock]: https://docs.kernel.org/userspace-api/landlock.html

use std::{io, path::Path, sync::OnceLock};
use tokio::process::{Child, Command};

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux::{confine, find};

/// What a program may reach. All others are its own program, the system's libraries, and facts about processors and memory.
#[derive(Debug, Clone, Default)]
pub struct Cage<'a> {
    /// The folder where it reads and writes files.
    pub folder: Option<&'a Path>,
    /// The loopback ports that it connects to. Without any it makes no sockets.
    pub ports: Vec<u16>,
}

/// Which walls this machine's kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walls {
    /// Files are kept apart, and programs that may be run.
    pub files: bool,
    /// Connections are kept to ports.
    pub ports: bool,
    /// System calls are refused: sockets and processes.
    pub calls: bool,
}

/// Finds out which walls there are, and logs it, once.
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

/// Starts a program in a cage; its path must be absolute. Where that is refused, it is started outside.
///
/// # Errors
/// That the program cannot be started.
pub fn spawn(command: &mut Command, cage: &Cage) -> io::Result<Child> {
    let walls = walls();
    if !walls.files && !walls.calls {
        return command.spawn();
    }
    let runtime = tokio::runtime::Handle::current();
    let caged = std::thread::scope(|scope| {
        let start = || {
            let _inside = runtime.enter();
            confine(command, cage)?;
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
fn confine(_: &Command, _: &Cage) -> io::Result<()> {
    Ok(())
}
