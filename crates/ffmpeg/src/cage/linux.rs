//! The walls as Linux has them.

use super::{Cage, Walls, walls};
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

/// By the number of a call, the rules of which each refuses it; a call without rules is refused always.
type Calls = BTreeMap<i64, Vec<SeccompRule>>;

/// The newest version of Landlock whose rights are known to let `FFmpeg` work.
const ABI: ABI = ABI::V6;
/// Where libraries are, besides beside the program.
const LIBRARIES: [&str; 6] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
];
/// What the kernel runs to load a program with libraries, by glibc and musl.
const LOADERS: [&str; 4] = [
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib/ld-musl-x86_64.so.1",
    "/lib/ld-musl-aarch64.so.1",
];
/// How many processors there are, and how much memory: encoders choose their threads by that.
const FACTS: [&str; 6] = [
    "/sys/devices/system",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/dev/null",
    "/dev/urandom",
];

/// The flags of `clone` by which the C library starts a program (`posix_spawn`).
const SPAWN: u64 = (libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD) as u64;
/// Calls that are refused whatever their arguments: they make processes, reach into others, take connections, get around
/// this filter, or belong to parts of the kernel that a decoder has no use for.
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
/// Calls of one instruction set that are `clone` on the other.
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
    // A thread of its own, since a filter cannot be taken away.
    let filtered = std::thread::spawn(|| refuse(&Cage::default(), None).is_ok());
    Walls {
        files: has(|ruleset| ruleset.handle_access(AccessFs::from_all(ABI::V1))),
        ports: has(|ruleset| ruleset.handle_access(AccessNet::ConnectTcp)),
        calls: filtered.join().unwrap_or(false),
    }
}

/// Puts the walls up around this thread and what it starts, as far as there are any.
pub fn confine(command: &Command, cage: &Cage) -> io::Result<()> {
    let program = command.as_std().get_program();
    let walls = walls();
    if walls.files {
        restrict(Path::new(program), cage).map_err(io::Error::other)?;
    }
    if walls.calls {
        // The call that runs the program names it by the bytes at this address, which the program does not learn.
        let address = program.as_bytes().as_ptr().addr() as u64;
        refuse(cage, Some(address))?;
    }
    Ok(())
}

/// Keeps this thread to a cage's files and ports.
fn restrict(program: &Path, cage: &Cage) -> Result<(), RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let run = AccessFs::ReadFile | AccessFs::Execute;
    let write = AccessFs::WriteFile | AccessFs::MakeReg | AccessFs::RemoveFile | AccessFs::Truncate;
    let beside = program.ancestors().nth(2).map(|folder| folder.join("lib"));
    let ports = cage
        .ports
        .iter()
        .map(|port| Ok::<_, RulesetError>(NetPort::new(*port, AccessNet::ConnectTcp)));
    // What is not there is left out.
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

/// Refuses this thread the calls that a cage has no use for. `program` is the address of the path of the program that
/// may be run.
fn refuse(cage: &Cage, program: Option<u64>) -> io::Result<()> {
    let calls = refused(cage, program).map_err(io::Error::other)?;
    apply(calls, libc::EPERM)?;
    // The C library takes `clone` where there is no `clone3`, whose flags no filter can read.
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
        // All but TCP by IPv4: no other family and type, nor another protocol that is TCP to its user.
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
        // A connection that Landlock does not see.
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

/// A rule that is met where all arguments are as it says.
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

/// A constant of C, none of which is below zero.
fn number(constant: i32) -> u64 {
    u64::from(constant.unsigned_abs())
}
