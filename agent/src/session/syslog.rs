//! One line to syslog from a process too short-lived for a logger.

use std::os::unix::net::UnixDatagram;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    Error = 3,
    Warning = 4,
}

/// The facility that sshd's and PAM's own lines go to. Source: syslog(3).
const AUTHPRIV: u8 = 10;

/// Sends a line as `vctl-agent`; lost when nobody listens, because there is nobody left to tell.
pub(super) fn syslog(severity: Severity, text: &str) {
    let Ok(socket) = UnixDatagram::unbound() else {
        return;
    };
    // A syslog daemon that is stopped must not stop the login.
    if socket.set_nonblocking(true).is_err() {
        return;
    }
    let priority = AUTHPRIV * 8 + severity as u8;
    // No line break of a user's making: it would begin a line of its own in the log.
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let line = format!("<{priority}>vctl-agent[{}]: {text}", std::process::id());
    let _ = socket.send_to(line.as_bytes(), "/dev/log");
}
