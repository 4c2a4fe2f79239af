//! The content of a line: an event and its fields. Text of the user cannot begin another field or another line.

use std::fmt::Write as _;

use vctl_common::escape::{escape_bytes, escape_char, is_visible};
use vctl_common::event::{EventKind, KernelEvent};
use vctl_common::session::{Gap, JournalEntry, SessionClosed, SessionOpened};

/// Maximum size of a value before it is escaped. rsyslog cuts lines at 8 KiB.
const MOST_BYTES: usize = 1024;
const MOST_ARGV: usize = 4096;

/// Severities of syslog(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    Warning = 4,
    Info = 6,
}

/// An event of a session for the log of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub(super) event: &'static str,
    pub(super) severity: Severity,
    /// Names, and values that are escaped.
    pub(super) fields: Vec<(&'static str, String)>,
}

impl Line {
    /// Returns the line of an entry of the journal.
    pub fn of_entry(entry: &JournalEntry) -> Self {
        match entry {
            JournalEntry::Opened(opened) => Self::opened(opened),
            JournalEntry::Closed(closed) => Self::closed(closed),
            JournalEntry::Gap(gap) => Self::gap(gap),
        }
    }

    fn opened(opened: &SessionOpened) -> Self {
        let mut line = Self::of_session("session-opened", opened);
        line.add("service", &opened.service);
        if let Some(ip) = opened.source_ip {
            line.add("source_ip", &ip.to_string());
        }
        if let Some(port) = opened.source_port {
            line.add("source_port", &port.to_string());
        }
        line.add("stamp", &word(&opened.stamp));
        line
    }

    fn closed(closed: &SessionClosed) -> Self {
        let mut line = Self::new("session-closed", Severity::Info);
        line.add("session", &closed.id.to_string());
        line.add("reason", &word(&closed.reason));
        line.add("events", &closed.stored.to_string());
        line
    }

    pub(super) fn gap(gap: &Gap) -> Self {
        let mut line = Self::new("events-missing", Severity::Warning);
        if let Some(session) = gap.session {
            line.add("session", &session.to_string());
        }
        line.add("cause", &word(&gap.cause));
        if let Some(events) = gap.events {
            line.add("events", &events.to_string());
        }
        line
    }

    /// Returns the line of a program that the user started, or failed to start; `None` for another event. The
    /// arguments must already be redacted.
    pub fn program(session: &SessionOpened, event: &KernelEvent) -> Option<Self> {
        let (name, exec, errno) = match &event.kind {
            EventKind::Exec(exec) => ("exec", exec, None),
            EventKind::ExecFailed { errno, exec } => ("exec-failed", exec, Some(errno)),
            _ => return None,
        };
        if !event.phase.is_users() {
            return None;
        }
        let mut line = Self::of_session(name, session);
        line.add("pid", &event.process.tgid.to_string());
        line.add("ppid", &exec.parent.tgid.to_string());
        line.add("uid", &exec.euid.to_string());
        if let Some(errno) = errno {
            line.add("errno", &errno.to_string());
        }
        line.add_bytes("cwd", &exec.cwd);
        line.add_bytes("exe", &exec.exe.path);
        let (argv, is_cut) = arguments(&exec.argv);
        if is_cut || exec.argv_truncated || exec.argv_fault {
            line.add("argv_cut", "yes");
        }
        line.fields.push(("argv", argv));
        Some(line)
    }

    /// Returns the text: the event, then `name=value`. `argv` is in brackets, because it has several values.
    pub(super) fn text(&self) -> String {
        let mut text = self.event.to_owned();
        for (name, value) in &self.fields {
            let _ = match *name {
                "argv" => write!(text, " {name}=[{value}]"),
                _ => write!(text, " {name}={value}"),
            };
        }
        text
    }

    fn new(event: &'static str, severity: Severity) -> Self {
        Self {
            event,
            severity,
            fields: Vec::new(),
        }
    }

    fn of_session(event: &'static str, session: &SessionOpened) -> Self {
        let mut line = Self::new(event, Severity::Info);
        line.add("session", &session.id.to_string());
        line.add("user", &session.login_user);
        if let Some(certificate) = &session.auth.certificate {
            if let Some(serial) = certificate.serial {
                line.add("serial", &serial.to_string());
            }
            line.add("key_id", &certificate.key_id);
        }
        line
    }

    fn add(&mut self, name: &'static str, value: &str) {
        self.add_bytes(name, value.as_bytes());
    }

    fn add_bytes(&mut self, name: &'static str, value: &[u8]) {
        let value = &value[..value.len().min(MOST_BYTES)];
        self.fields.push((name, quoted(value)));
    }
}

/// Returns the arguments, and whether a part is left out.
fn arguments(argv: &[Vec<u8>]) -> (String, bool) {
    let mut text = String::new();
    let mut left = MOST_ARGV;
    for argument in argv {
        if left == 0 {
            return (text, true);
        }
        if !text.is_empty() {
            text.push(' ');
        }
        let part = &argument[..argument.len().min(left)];
        text.push_str(&quoted(part));
        if part.len() < argument.len() {
            return (text, true);
        }
        // With the separator: a line of empty arguments has a limit too.
        left = left.saturating_sub(part.len() + 1);
    }
    (text, false)
}

/// Returns the word of a value in the record, such as `ring_full`.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => "unknown".to_owned(),
    }
}

/// Returns the bytes as they are, or in double quotes with escapes.
fn quoted(bytes: &[u8]) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./:@%+,-".contains(byte);
    if !bytes.is_empty() && bytes.iter().all(is_plain) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    escape_bytes(bytes, &mut text, |c, text| match c {
        '"' | '\\' => text.extend(['\\', c]),
        c if is_visible(c) => text.push(c),
        c => escape_char(c, text),
    });
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_are_left_out_are_stated() {
        let full = vec![b'a'; MOST_ARGV];
        assert_eq!(
            arguments(&[b"ls".to_vec(), b"a b".to_vec(), Vec::new()]),
            (r#"ls "a b" """#.to_owned(), false)
        );
        assert!(!arguments(std::slice::from_ref(&full)).1);
        assert!(arguments(&[full.clone(), b"evil".to_vec()]).1);
        assert!(arguments(&[[&full[..], b"a"].concat()]).1);
        let (text, is_cut) = arguments(&vec![Vec::new(); 100_000]);
        assert!(is_cut && text.len() <= 3 * MOST_ARGV, "{}", text.len());
    }

    #[test]
    fn a_value_cannot_end_itself_or_its_line() {
        for (value, expected) in [
            (&b"/usr/bin/passwd"[..], "/usr/bin/passwd"),
            (b"", r#""""#),
            (b"a b", r#""a b""#),
            (b"x\" uid=0 \"\n<0>sshd: y", r#""x\" uid=0 \"\n<0>sshd: y""#),
            (b"\x1b[2J\\", r#""\x1b[2J\\""#),
            (b"\xff\xe2\x80\xae", r#""\xff\u202e""#),
            (b"uid=0", r#""uid=0""#),
        ] {
            assert_eq!(quoted(value), expected);
        }
    }
}
