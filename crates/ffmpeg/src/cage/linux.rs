//! The walls on Linux.

use super::reach::{Cage, Walls};
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, NetPort, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope, path_beneath_rules,
};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Is,
    SeccompCondition, SeccompFilter, SeccompRule,
};
use std::{collections::BTreeMap, io, os::unix::ffi::OsStrExt, path::Path};
use tokio::process::Command;

/// By system call number: rules, each of which refuses the call if it matches. A call without rules is always refused.
type Calls = BTreeMap<i64, Vec<SeccompRule>>;

/// The newest Landlock version that is known to work with `FFmpeg`.
const ABI: ABI = ABI::V6;
/// Where libraries are, besides the program's own folder.
const LIBRARIES: [&str; 6] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
];
/// The dynamic loaders of glibc and musl.
const LOADERS: [&str; 4] = [
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib/ld-musl-x86_64.so.1",
    "/lib/ld-musl-aarch64.so.1",
];
/// The number of processors and the amount of memory: encoders choose their threads by these.
const FACTS: [&str; 6] = [
    "/sys/devices/system",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/dev/null",
    "/dev/urandom",
];

/// The `clone` flags with which the C library starts a program (`posix_spawn`).
const SPAWN: u64 = (libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD) as u64;
/// Calls that are always refused: they create processes, access other processes, accept connections, bypass this
/// filter, or belong to parts of the kernel that a decoder does not need.
const REFUSED: [libc::c_long; 25] = [
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_add_key,
    libc::SYS_bind,
    libc::SYS_bpf,
    libc::SYS_execveat,
    libc::SYS_io_uring_setup,
    libc::SYS_keyctl,
    libc::SYS_kill,
    libc::SYS_listen,
    libc::SYS_mount,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_request_key,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_setns,
    libc::SYS_setsid,
    libc::SYS_socketpair,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];
/// Calls that only x86-64 has; elsewhere, `clone` does the same.
#[cfg(target_arch = "x86_64")]
const FORKS: &[libc::c_long] = &[libc::SYS_fork, libc::SYS_vfork];
#[cfg(not(target_arch = "x86_64"))]
const FORKS: &[libc::c_long] = &[];

/// Which walls this kernel has.
pub fn find() -> Walls {
    let has = |wall: fn(Ruleset) -> Result<Ruleset, RulesetError>| {
        let required = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        wall(required).and_then(Ruleset::create).is_ok()
    };
    // In a separate thread, since a filter cannot be removed.
    let filtered = std::thread::spawn(|| refuse(&Cage::default(), None).is_ok());
    Walls {
        files: has(|ruleset| ruleset.handle_access(AccessFs::from_all(ABI::V1))),
        ports: has(|ruleset| ruleset.handle_access(AccessNet::ConnectTcp)),
        calls: filtered.join().unwrap_or(false),
    }
}

/// Puts the available walls up around this thread and what it starts.
pub fn confine(command: &Command, cage: &Cage, walls: Walls) -> io::Result<()> {
    let program = command.as_std().get_program();
    if walls.files {
        restrict(Path::new(program), cage).map_err(io::Error::other)?;
    }
    if walls.calls {
        // The call that runs the program must pass the path at this address, which the program does not learn.
        let address = program.as_bytes().as_ptr().addr() as u64;
        refuse(cage, Some(address))?;
    }
    Ok(())
}

/// Restricts this thread to a cage's files and ports.
fn restrict(program: &Path, cage: &Cage) -> Result<(), RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let run = AccessFs::ReadFile | AccessFs::Execute;
    let write = AccessFs::WriteFile | AccessFs::MakeReg | AccessFs::RemoveFile | AccessFs::Truncate;
    let beside = program.ancestors().nth(2).map(|folder| folder.join("lib"));
    let ports = cage
        .ports
        .iter()
        .map(|port| Ok::<_, RulesetError>(NetPort::new(*port, AccessNet::ConnectTcp)));
    // Paths that do not exist are left out.
    Ruleset::default()
        .handle_access(AccessFs::from_all(ABI))?
        .handle_access(AccessNet::from_all(ABI))?
        .scope(Scope::from_all(ABI))?
        .create()?
        .add_rules(path_beneath_rules([program], run))?
        .add_rules(path_beneath_rules(LOADERS, run))?
        .add_rules(path_beneath_rules(LIBRARIES, read))?
        .add_rules(path_beneath_rules(beside, read))?
        .add_rules(path_beneath_rules(FACTS, read))?
        .add_rules(path_beneath_rules(cage.folder, read | write))?
        .add_rules(ports)?
        .restrict_self()
        .map(|_| ())
}

/// Denies this thread the system calls that a cage does not need. `program` is the address of the path of the program
/// that may be run.
fn refuse(cage: &Cage, program: Option<u64>) -> io::Result<()> {
    let calls = refused(cage, program).map_err(io::Error::other)?;
    apply(calls, libc::EPERM)?;
    // Filters cannot read the flags of `clone3`. If it is missing, the C library falls back to `clone`.
    apply([(libc::SYS_clone3, Vec::new())].into(), libc::ENOSYS)
}

fn apply(calls: Calls, error: i32) -> io::Result<()> {
    let architecture = std::env::consts::ARCH
        .try_into()
        .map_err(io::Error::other)?;
    let refusal = SeccompAction::Errno(error.unsigned_abs());
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, refusal, architecture);
    let program: BpfProgram = filter
        .and_then(TryInto::try_into)
        .map_err(io::Error::other)?;
    seccompiler::apply_filter(&program).map_err(io::Error::other)
}

fn refused(cage: &Cage, program: Option<u64>) -> Result<Calls, BackendError> {
    let always = REFUSED.iter().chain(FORKS);
    let mut calls: Calls = always.map(|call| (*call, Vec::new())).collect();
    if let Some(address) = program {
        calls.insert(libc::SYS_execve, vec![all(&[(0, Is::Ne, address)])?]);
    }
    let thread = libc::CLONE_THREAD as u64;
    let no_thread = all(&[(0, Is::MaskedEq(thread), 0), (0, Is::Ne, SPAWN)])?;
    calls.insert(libc::SYS_clone, vec![no_thread]);
    let mut sockets = Vec::new();
    if !cage.ports.is_empty() {
        // Everything except TCP over IPv4: no other family or type, and no other stream protocol.
        let kinds = [
            0,
            libc::SOCK_CLOEXEC,
            libc::SOCK_NONBLOCK,
            libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
        ];
        let tcp = kinds.map(|flags| (1, Is::Ne, number(libc::SOCK_STREAM | flags)));
        sockets.push(all(&[(0, Is::Ne, number(libc::AF_INET))])?);
        sockets.push(all(&tcp)?);
        sockets.push(all(
            &[0, libc::IPPROTO_TCP].map(|protocol| (2, Is::Ne, number(protocol)))
        )?);
        // TCP Fast Open connects without Landlock noticing.
        let open = number(libc::MSG_FASTOPEN);
        for (call, flags) in [
            (libc::SYS_sendto, 3),
            (libc::SYS_sendmsg, 2),
            (libc::SYS_sendmmsg, 3),
        ] {
            calls.insert(call, vec![all(&[(flags, Is::MaskedEq(open), open)])?]);
        }
    }
    calls.insert(libc::SYS_socket, sockets);
    Ok(calls)
}

/// A rule that matches if all arguments do.
fn all(arguments: &[(u8, Is, u64)]) -> Result<SeccompRule, BackendError> {
    let condition = |(index, is, value): &(u8, Is, u64)| {
        let length = if *index == 0 {
            Length::Qword
        } else {
            Length::Dword
        };
        SeccompCondition::new(*index, length, is.clone(), *value)
    };
    SeccompRule::new(arguments.iter().map(condition).collect::<Result<_, _>>()?)
}

/// A C constant; none of them is negative.
fn number(constant: i32) -> u64 {
    u64::from(constant.unsigned_abs())
}
