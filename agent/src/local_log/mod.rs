//! A copy of sessions and programs in the log of the host (`local_log`): journald or syslog.
//!
//! The crates for this (`libsystemd`, `tracing-journald`, `syslog`) wait until the log daemon reads. A stopped daemon
//! would then stop the recording, so lines are sent here, without waiting. A line that the daemon does not take is
//! dropped and counted: the record itself is in the spool.

mod line;
mod outage;

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tracing::{info, warn};
use vctl_common::causes::WithCauses;
use vctl_common::status::LocalLogStatus;

use self::outage::Outages;
use crate::config::LocalLogKind;

pub use line::Line;

/// The facility of the lines of sshd and PAM. Source: syslog(3).
pub(crate) const AUTHPRIV: u8 = 10;
pub(crate) const SYSLOG_SOCKET: &str = "/dev/log";
const IDENTIFIER: &str = "vctl-agent";

/// The log daemon of the host.
pub struct LocalLog {
    kind: LocalLogKind,
    path: PathBuf,
    socket: UnixDatagram,
    status: LocalLogStatus,
    outages: Outages,
}

impl LocalLog {
    /// Prepares the socket; `None` without `local_log`. The daemon may start later. `before` has the numbers of an
    /// earlier collector of this boot.
    pub fn open(kind: LocalLogKind, before: Option<LocalLogStatus>) -> Option<Self> {
        let log = Self::at(
            kind,
            Path::new(socket_of(kind)?),
            before.unwrap_or_default(),
        );
        // Recording is more important than this copy.
        log.inspect_err(|error| {
            warn!(error = %WithCauses(&error), "`local_log` is not used: there is no socket for it.");
        })
        .ok()
    }

    fn at(kind: LocalLogKind, path: &Path, status: LocalLogStatus) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            kind,
            path: path.to_owned(),
            socket,
            status,
            outages: Outages::default(),
        })
    }

    /// Sends a line, or counts it as dropped.
    pub fn send(&mut self, line: &Line) {
        let datagram = match self.kind {
            LocalLogKind::Journald => journal_entry(line),
            LocalLogKind::Syslog | LocalLogKind::None => syslog_line(line),
        };
        // By path and not by connection: a daemon that restarts has a new socket.
        match self.socket.send_to(datagram.as_bytes(), &self.path) {
            Ok(_) => {
                self.status.written += 1;
                if let Some(lost) = self.outages.end() {
                    info!(lost, "The log daemon takes lines again.");
                }
            }
            Err(error) => {
                self.status.dropped += 1;
                if let Some(lost) = self.outages.lose(Instant::now()) {
                    warn!(
                        lost,
                        socket = %self.path.display(),
                        error = %WithCauses(&error),
                        "The log daemon takes no lines: they are missing in its log, not in the record."
                    );
                }
            }
        }
    }

    pub fn status(&self) -> LocalLogStatus {
        self.status
    }
}

/// Returns the socket of the daemon.
pub fn socket_of(kind: LocalLogKind) -> Option<&'static str> {
    match kind {
        LocalLogKind::None => None,
        LocalLogKind::Journald => Some("/run/systemd/journal/socket"),
        LocalLogKind::Syslog => Some(SYSLOG_SOCKET),
    }
}

/// Returns a datagram of journald's native protocol. No value has a line break, so each is `NAME=value`.
fn journal_entry(line: &Line) -> String {
    let severity = line.severity as u8;
    let mut entry = format!(
        "MESSAGE={}\nPRIORITY={severity}\nSYSLOG_FACILITY={AUTHPRIV}\nSYSLOG_IDENTIFIER={IDENTIFIER}\n\
         VCTL_EVENT={}\n",
        line.text(),
        line.event
    );
    for (name, value) in &line.fields {
        entry.push_str("VCTL_");
        entry.push_str(&name.to_ascii_uppercase());
        entry.push('=');
        entry.push_str(value);
        entry.push('\n');
    }
    entry
}

/// Returns a datagram as the C library's syslog(3) sends it, without the time: the daemon adds it.
fn syslog_line(line: &Line) -> String {
    let priority = AUTHPRIV * 8 + line.severity as u8;
    let pid = std::process::id();
    format!("<{priority}>{IDENTIFIER}[{pid}]: {}", line.text())
}

#[cfg(test)]
mod tests {
    use vctl_common::id::SessionId;
    use vctl_common::session::{Gap, GapCause};
    use vctl_common::time::BootNs;

    use super::*;

    fn line() -> Line {
        let id: SessionId = "01a20aac-1b87-7218-94e1-6619c040d694".parse().unwrap();
        Line::gap(&Gap::new(GapCause::RingFull, id, BootNs(1), BootNs(2)).with_events(3))
    }

    fn receive(daemon: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let length = daemon.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn syslog_gets_one_line_and_journald_gets_fields() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let send = |kind| {
            LocalLog::at(kind, &path, LocalLogStatus::default())
                .unwrap()
                .send(&line());
        };
        let text =
            "events-missing session=01a20aac-1b87-7218-94e1-6619c040d694 cause=ring_full events=3";
        send(LocalLogKind::Syslog);
        let pid = std::process::id();
        assert_eq!(receive(&daemon), format!("<84>vctl-agent[{pid}]: {text}"));
        send(LocalLogKind::Journald);
        let entry = receive(&daemon);
        let fields: Vec<&str> = entry.lines().collect();
        assert_eq!(
            fields,
            [
                &*format!("MESSAGE={text}"),
                "PRIORITY=4",
                "SYSLOG_FACILITY=10",
                "SYSLOG_IDENTIFIER=vctl-agent",
                "VCTL_EVENT=events-missing",
                "VCTL_SESSION=01a20aac-1b87-7218-94e1-6619c040d694",
                "VCTL_CAUSE=ring_full",
                "VCTL_EVENTS=3",
            ]
        );
    }

    #[test]
    fn a_daemon_that_reads_nothing_costs_lines_and_no_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = LocalLog::at(LocalLogKind::Syslog, &path, LocalLogStatus::default()).unwrap();
        log.send(&line());
        assert_eq!((log.status.written, log.status.dropped), (0, 1));
        let daemon = UnixDatagram::bind(&path).unwrap();
        // The kernel queues at most net.unix.max_dgram_qlen datagrams, or what fits into the socket's buffer.
        while log.status.dropped < 3 {
            log.send(&line());
        }
        assert!(log.status.written > 0);
        let written = log.status.written;
        receive(&daemon);
        log.send(&line());
        assert_eq!(log.status.written, written + 1);
    }
}
