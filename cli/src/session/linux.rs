//! Names of Linux signals and error numbers.
//!
//! Not taken from the C library: the numbers were recorded on Linux, but `vctl` may run on a Mac.

use std::borrow::Cow;

const SIGNALS: [&str; 32] = [
    "",
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// Number of the first real-time signal that glibc leaves to programs.
const SIGRTMIN: u8 = 34;

/// Returns `SIGKILL` for 9, `SIGRTMIN+1` for 35, and `signal N` for a number without a name.
///
/// Source: signal(7), the x86 and ARM column.
pub(crate) fn signal_name(signal: u8) -> Cow<'static, str> {
    match signal {
        1..=31 => SIGNALS[usize::from(signal)].into(),
        SIGRTMIN => "SIGRTMIN".into(),
        35..=64 => format!("SIGRTMIN+{}", signal - SIGRTMIN).into(),
        _ => format!("signal {signal}").into(),
    }
}

/// Returns `ENOENT` for 2, and `errno 999` for a number without a name.
///
/// Covers 1 to 40, and above that the numbers that execve(2) and the code it calls (file systems, security modules,
/// binfmt handlers) are known to return.
pub(crate) fn errno_name(errno: u32) -> Cow<'static, str> {
    const FIRST: [&str; 41] = [
        "",
        "EPERM",
        "ENOENT",
        "ESRCH",
        "EINTR",
        "EIO",
        "ENXIO",
        "E2BIG",
        "ENOEXEC",
        "EBADF",
        "ECHILD",
        "EAGAIN",
        "ENOMEM",
        "EACCES",
        "EFAULT",
        "ENOTBLK",
        "EBUSY",
        "EEXIST",
        "EXDEV",
        "ENODEV",
        "ENOTDIR",
        "EISDIR",
        "EINVAL",
        "ENFILE",
        "EMFILE",
        "ENOTTY",
        "ETXTBSY",
        "EFBIG",
        "ENOSPC",
        "ESPIPE",
        "EROFS",
        "EMLINK",
        "EPIPE",
        "EDOM",
        "ERANGE",
        "EDEADLK",
        "ENAMETOOLONG",
        "ENOLCK",
        "ENOSYS",
        "ENOTEMPTY",
        "ELOOP",
    ];
    match errno {
        1..=40 => FIRST[errno as usize].into(),
        61 => "ENODATA".into(),
        74 => "EBADMSG".into(),
        75 => "EOVERFLOW".into(),
        80 => "ELIBBAD".into(),
        95 => "EOPNOTSUPP".into(),
        110 => "ETIMEDOUT".into(),
        112 => "EHOSTDOWN".into(),
        113 => "EHOSTUNREACH".into(),
        116 => "ESTALE".into(),
        117 => "EUCLEAN".into(),
        121 => "EREMOTEIO".into(),
        122 => "EDQUOT".into(),
        125 => "ECANCELED".into(),
        126 => "ENOKEY".into(),
        127 => "EKEYEXPIRED".into(),
        128 => "EKEYREVOKED".into(),
        129 => "EKEYREJECTED".into(),
        _ => format!("errno {errno}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signal_names_are_those_of_kill_l() {
        assert_eq!(signal_name(1), "SIGHUP");
        assert_eq!(signal_name(9), "SIGKILL");
        assert_eq!(signal_name(15), "SIGTERM");
        assert_eq!(signal_name(31), "SIGSYS");
        assert_eq!(signal_name(34), "SIGRTMIN");
        assert_eq!(signal_name(64), "SIGRTMIN+30");
        assert_eq!(signal_name(0), "signal 0");
        assert_eq!(signal_name(127), "signal 127");
    }

    #[test]
    fn errors_of_exec_have_their_c_names() {
        assert_eq!(errno_name(2), "ENOENT");
        assert_eq!(errno_name(8), "ENOEXEC");
        assert_eq!(errno_name(13), "EACCES");
        assert_eq!(errno_name(26), "ETXTBSY");
        assert_eq!(errno_name(40), "ELOOP");
        assert_eq!(errno_name(0), "errno 0");
        assert_eq!(errno_name(4095), "errno 4095");
    }
}
