//! The system calls that the driver may make (seccomp, seccomp(2)).
//!
//! The list has the calls that the standard library, libusb, nusb and this program make while a
//! modem runs. A call that is not in it fails with `EPERM`. No program can be started, no process
//! can be traced, signalled or inspected, nothing can be mounted, no key can be read, and sockets
//! are limited to those of the machine itself and of netlink.

use std::collections::BTreeMap;
use std::io;

use libc::{
    AF_NETLINK, AF_UNIX, CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID,
    CLONE_NEWUSER, CLONE_NEWUTS, PR_GET_NAME, PR_SET_NAME, PR_SET_NO_NEW_PRIVS,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Compare,
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Calls that are allowed with any arguments.
const FREE: &[i64] = &[
    // Calls on descriptors.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_flock,
    libc::SYS_pipe2,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    // Calls on files, as far as Landlock and the files' modes permit.
    libc::SYS_openat,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_getxattr,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_symlinkat,
    libc::SYS_linkat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_umask,
    // Calls on sockets that exist.
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_shutdown,
    // Calls on memory.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    // Calls on threads, their signals, and the end.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getpriority,
    libc::SYS_setpriority,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // The call is allowed here, and answered with ENOSYS by a filter of its own: its flags are in
    // memory, which a filter cannot read. The C library then uses `clone`.
    libc::SYS_clone3,
    // A further filter can only forbid more ([`settle`]).
    libc::SYS_seccomp,
    // Queries of the system.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_capget,
    libc::SYS_getrlimit,
    libc::SYS_getrusage,
    libc::SYS_uname,
    libc::SYS_sysinfo,
];

/// Calls of the same kind that only this processor's architecture has.
#[cfg(target_arch = "x86_64")]
const OLD: &[i64] = &[
    libc::SYS_access,
    libc::SYS_alarm,
    libc::SYS_arch_prctl,
    libc::SYS_chmod,
    libc::SYS_dup2,
    libc::SYS_epoll_wait,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_rmdir,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_symlink,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[i64] = &[];

/// Requests of ioctl(2) that reach beyond this process: typing into another terminal (ioctl_tty(2),
/// ioctl_console(2)), taking one over, and signals to other processes when a descriptor is ready.
const TERMINAL_WAYS_OUT: &[u64] = &[
    libc::TIOCSTI,
    libc::TIOCLINUX,
    libc::TIOCSCTTY,
    libc::TIOCCONS,
    libc::TIOCSPGRP,
    FIOSETOWN,
    SIOCSPGRP,
];
/// Value of `asm-generic/sockios.h`.
const FIOSETOWN: u64 = 0x8901;
const SIOCSPGRP: u64 = 0x8902;
/// Operations of fcntl(2) that choose the receiver and the number of a signal.
const SIGNAL_WAYS_OUT: &[i32] = &[libc::F_SETOWN, F_SETOWN_EX, F_SETSIG];
/// Value of `asm-generic/fcntl.h`.
const F_SETSIG: i32 = 10;
const F_SETOWN_EX: i32 = 15;

/// Calls that neither this program nor one that takes name servers makes.
const NEVER: &[i64] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
];

/// Forbids the monitor the calls in [`NEVER`], and other programs unless they take name servers, and
/// returns a description in words.
///
/// # Errors
/// Those of [`restrict`].
pub(super) fn restrict_monitor(programs: bool) -> io::Result<String> {
    let mut rules = never()?;
    if !programs {
        rules.extend([libc::SYS_execve, libc::SYS_execveat].map(|call| (call, Vec::new())));
    }
    apply(rules, SeccompAction::Allow, SeccompAction::Errno(EPERM))?;
    Ok(match programs {
        true => "some calls refused; programs of the resolver and of [hooks] are run".into(),
        false => "some calls refused, and programs".into(),
    })
}

/// Restricts the calling thread, and those it starts, to the needed calls, and returns a
/// description in words. With `programs`, only the calls in [`NEVER`] are forbidden.
///
/// # Errors
/// The reason why nothing is restricted: the processor or the kernel has no support.
pub(super) fn restrict(programs: bool, monitored: bool) -> io::Result<String> {
    if programs {
        apply(never()?, SeccompAction::Allow, SeccompAction::Errno(EPERM))?;
        return Ok("some calls refused; open for the programs that it starts".into());
    }
    let only = [(libc::SYS_clone3, Vec::new())].into();
    apply(only, SeccompAction::Allow, SeccompAction::Errno(ENOSYS))?;
    apply(
        allowed(monitored)?,
        SeccompAction::Errno(EPERM),
        SeccompAction::Allow,
    )?;
    Ok("only the calls that are needed".to_owned())
}

const EPERM: u32 = libc::EPERM as u32;
const ENOSYS: u32 = libc::ENOSYS as u32;

/// Forbids all threads to make sockets; existing ones keep working. Where a thread was started
/// before [`restrict`], which the kernel refuses, only the calling thread is restricted.
///
/// # Errors
/// Those of [`restrict`].
pub(super) fn settle() -> io::Result<()> {
    let sockets = [
        libc::SYS_socket,
        libc::SYS_bind,
        libc::SYS_listen,
        libc::SYS_connect,
    ];
    let rules = sockets.map(|call| (call, Vec::new())).into();
    let program = compile(rules, SeccompAction::Allow, SeccompAction::Errno(EPERM))?;
    seccompiler::apply_filter_all_threads(&program)
        .or_else(|_| seccompiler::apply_filter(&program))
        .map_err(other)
}

fn apply(rules: Rules, otherwise: SeccompAction, listed: SeccompAction) -> io::Result<()> {
    seccompiler::apply_filter(&compile(rules, otherwise, listed)?).map_err(other)
}

fn compile(
    rules: Rules,
    otherwise: SeccompAction,
    listed: SeccompAction,
) -> io::Result<BpfProgram> {
    let processor = TargetArch::try_from(std::env::consts::ARCH).map_err(other)?;
    let filter = SeccompFilter::new(rules, otherwise, listed, processor).map_err(other)?;
    filter.try_into().map_err(other)
}

fn never() -> io::Result<Rules> {
    let mut rules: Rules = NEVER.iter().map(|&call| (call, Vec::new())).collect();
    // A program for the name servers may use its own terminal freely.
    let types = [libc::TIOCSTI, libc::TIOCLINUX];
    let types = types.map(|request| rule(1, Length::Dword, Compare::Eq, request));
    rules.insert(
        libc::SYS_ioctl,
        types.into_iter().collect::<io::Result<_>>()?,
    );
    Ok(rules)
}

fn allowed(monitored: bool) -> io::Result<Rules> {
    // A monitor, where there is one, configures the network.
    let families = &[number(AF_NETLINK), number(AF_UNIX)][usize::from(monitored)..];
    let mut rules: Rules = FREE
        .iter()
        .chain(OLD)
        .map(|&call| (call, Vec::new()))
        .collect();
    let own = u64::from(std::process::id());
    for (call, argument, values) in [
        // The families are for names on this machine, and for the kernel's configuration of the
        // network.
        (libc::SYS_socket, 0, families),
        (libc::SYS_socketpair, 0, &[number(AF_UNIX)]),
        // Signals go to this process only: `abort`, and the end at a second Ctrl-C.
        (libc::SYS_kill, 0, &[own]),
        (libc::SYS_tgkill, 0, &[own]),
        (
            libc::SYS_prctl,
            0,
            &[
                number(PR_SET_NAME),
                number(PR_GET_NAME),
                number(PR_SET_NO_NEW_PRIVS),
            ],
        ),
        // The limits of this process can be read, but not changed.
        (libc::SYS_prlimit64, 2, &[0]),
    ] {
        let one = |&value: &u64| {
            let length = match call {
                libc::SYS_prlimit64 => Length::Qword,
                _ => Length::Dword,
            };
            rule(argument, length, Compare::Eq, value)
        };
        rules.insert(call, values.iter().map(one).collect::<io::Result<_>>()?);
    }
    // Requests and operations are 32 bits wide in the kernel.
    rules.insert(
        libc::SYS_ioctl,
        vec![but(TERMINAL_WAYS_OUT.iter().copied())?],
    );
    let signals = SIGNAL_WAYS_OUT.iter().copied().map(number);
    rules.insert(libc::SYS_fcntl, vec![but(signals)?]);
    // Threads can be made, but no namespaces.
    let namespaces = CLONE_NEWCGROUP
        | CLONE_NEWIPC
        | CLONE_NEWNET
        | CLONE_NEWNS
        | CLONE_NEWPID
        | CLONE_NEWUSER
        | CLONE_NEWUTS;
    let none = rule(0, Length::Qword, Compare::MaskedEq(number(namespaces)), 0)?;
    rules.insert(libc::SYS_clone, vec![none]);
    Ok(rules)
}

/// Returns a rule that holds when the second argument is none of these.
fn but(values: impl Iterator<Item = u64>) -> io::Result<SeccompRule> {
    let conditions = values
        .map(|value| SeccompCondition::new(1, Length::Dword, Compare::Ne, value).map_err(other))
        .collect::<io::Result<_>>()?;
    SeccompRule::new(conditions).map_err(other)
}

fn rule(argument: u8, length: Length, compare: Compare, value: u64) -> io::Result<SeccompRule> {
    let condition = SeccompCondition::new(argument, length, compare, value).map_err(other)?;
    SeccompRule::new(vec![condition]).map_err(other)
}

/// Returns a constant of the C library in the width in which the kernel compares it.
fn number(constant: i32) -> u64 {
    u64::from(constant.cast_unsigned())
}

/// Returns an error of the crate as an error of the system.
fn other(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}
