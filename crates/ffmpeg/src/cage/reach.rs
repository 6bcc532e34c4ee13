//! What a program may reach, and what can keep it there.

use std::path::Path;

/// What a program may reach, besides its own file, the system's libraries, and facts about processors and memory.
#[derive(Debug, Clone, Default)]
pub struct Cage<'a> {
    /// The folder in which it reads and writes files.
    pub folder: Option<&'a Path>,
    /// The loopback ports that it may connect to. Without any, it cannot create sockets.
    pub ports: Vec<u16>,
}

/// Which walls this machine's kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walls {
    /// Access to files, and to programs, is restricted.
    pub files: bool,
    /// Connections are restricted to ports.
    pub ports: bool,
    /// System calls for sockets and processes are refused.
    pub calls: bool,
}
