//! Exit status and signals, as in SSH and in shells.

use nix::libc;
use russh::Sig;

/// Names of RFC 4254, section 6.10, and additional ones of OpenSSH.
const SIGNALS: [(&str, i32); 16] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("XCPU", libc::SIGXCPU),
];

/// Converts a status of 32 bits to 8. A status that does not fit becomes 255.
pub(super) fn of_exit(status: u32) -> u8 {
    u8::try_from(status).unwrap_or(u8::MAX)
}

/// Returns 128 plus the signal's number; 255 for an unknown signal.
pub(super) fn of_signal(signal: &Sig) -> u8 {
    let name = match signal {
        Sig::ABRT => "ABRT",
        Sig::ALRM => "ALRM",
        Sig::FPE => "FPE",
        Sig::HUP => "HUP",
        Sig::ILL => "ILL",
        Sig::INT => "INT",
        Sig::KILL => "KILL",
        Sig::PIPE => "PIPE",
        Sig::QUIT => "QUIT",
        Sig::SEGV => "SEGV",
        Sig::TERM => "TERM",
        Sig::USR1 => "USR1",
        Sig::Custom(name) => name,
    };
    let known = SIGNALS.iter().find(|(known, _)| *known == name);
    known.map_or(u8::MAX, |(_, number)| of_number(*number))
}

pub(super) fn of_number(number: i32) -> u8 {
    u8::try_from(128 + number).unwrap_or(u8::MAX)
}

pub(super) fn name(number: i32) -> Sig {
    match number {
        libc::SIGHUP => Sig::HUP,
        libc::SIGINT => Sig::INT,
        libc::SIGQUIT => Sig::QUIT,
        _ => Sig::TERM,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_those_of_a_shell() {
        assert_eq!(of_exit(0), 0);
        assert_eq!(of_exit(255), 255);
        assert_eq!(of_exit(256), 255);
        assert_eq!(of_signal(&Sig::KILL), 137);
        assert_eq!(of_signal(&Sig::TERM), 143);
        assert_eq!(of_signal(&Sig::Custom("USR2".to_owned())), 140);
        assert_eq!(of_signal(&Sig::Custom("NOPE".to_owned())), 255);
    }
}
