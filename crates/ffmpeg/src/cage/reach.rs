//! What a program may reach, and what can keep it there.

use std::path::Path;

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
