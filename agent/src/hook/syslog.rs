//! One line to syslog from a process too short-lived for a logger.

use std::os::unix::net::UnixDatagram;

use vctl_common::escape::one_line;

use crate::local_log::{AUTHPRIV, SYSLOG_SOCKET};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    Error = 3,
    Warning = 4,
}

/// Sends a line as `vctl-agent`. It is lost without a syslog daemon: there is no other place to report to.
pub(super) fn syslog(severity: Severity, text: &str) {
    let Ok(socket) = UnixDatagram::unbound() else {
        return;
    };
    // A syslog daemon that is stopped must not stop the login.
    if socket.set_nonblocking(true).is_err() {
        return;
    }
    let priority = AUTHPRIV * 8 + severity as u8;
    // A line break from a user would begin another line in the log.
    let text = one_line(text);
    let line = format!("<{priority}>vctl-agent[{}]: {text}", std::process::id());
    let _ = socket.send_to(line.as_bytes(), SYSLOG_SOCKET);
}
