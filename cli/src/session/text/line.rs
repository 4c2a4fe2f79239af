//! One line about one process: the columns of the timeline, the tree and the live view.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use anstyle::Style;
use unicode_width::UnicodeWidthStr as _;
use vctl_common::event::{Attribution, CgroupMoveEvent, ExecEvent, ExitEvent, ExitStatus, Phase};

use vctl_common::charset;

use crate::session::linux::{errno_name, signal_name};
use crate::session::model::timeline::{
    End, EndReason, Entry, EntryKind, MovedBy, Program, UserChange,
};
use crate::ui::{BAD, BOLD, DIM, Layout, WARN, sanitize, time};

/// The cells of a line, escaped.
#[derive(Debug, Default)]
pub(crate) struct ProcessLine {
    pub(crate) time: Option<SystemTime>,
    pub(crate) pid: Option<u32>,
    pub(crate) user: Option<UserChange>,
    pub(crate) result: ResultCell,
    pub(crate) duration: Option<Duration>,
    /// Branches drawn before the command in a tree.
    pub(crate) prefix: String,
    pub(crate) what: String,
    /// Facts that must be visible; never cut.
    pub(crate) notes: Vec<String>,
}

/// The cell with the result: an exit status, a signal or an error.
#[derive(Debug, Default)]
pub(crate) struct ResultCell {
    pub(crate) text: String,
    pub(crate) style: Style,
}

/// Meaning of a program without an end: it runs, or its end was not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MissingEnd {
    Running,
    Unknown,
    /// Live view: the end is a separate line.
    Follows,
}

impl ProcessLine {
    /// Returns the line of `entry`; `None` for a missing range, which belongs to no process.
    pub(crate) fn of(entry: &Entry, missing_end: MissingEnd) -> Option<Self> {
        let event = &entry.event?.event;
        let mut line = Self {
            time: Some(entry.time),
            pid: Some(event.process.tgid),
            ..Self::default()
        };
        match &entry.kind {
            EntryKind::Program(program) => line.program(program, missing_end),
            EntryKind::Failed {
                exec,
                errno,
                user,
                directories,
            } => {
                line.user = Some(*user);
                line.result = ResultCell::bad(errno_name(*errno));
                line.what = command(exec);
                line.notes.push(if *directories > 1 {
                    format!("not executed: tried in {directories} directories")
                } else {
                    format!("not executed: {}", sanitize::command([&exec.filename]))
                });
                line.notes.extend(oddities(exec));
            }
            EntryKind::ForkEnded(exit) => {
                line.ended(exit);
                line.duration = Some(event.at.since(event.process.start));
                "(forked)".clone_into(&mut line.what);
            }
            EntryKind::Moved { moved, by } => line.moved(moved, *by),
            EntryKind::Missing(_) => return None,
        }
        line.notes.extend(phase(event.phase).map(str::to_owned));
        line.notes
            .extend(doubt(event.attribution).map(str::to_owned));
        Some(line)
    }

    pub(crate) fn write(&self, out: &mut dyn Write, layout: Layout) -> io::Result<()> {
        // 22:01:02.123     4242  1000→root  exit 0        1.2s  sudo id
        let time = self.time.map(time::clock).unwrap_or_default();
        let pid = self.pid.map(|pid| pid.to_string()).unwrap_or_default();
        let user = self.user.map(UserChange::shown).unwrap_or_default();
        let changed = self.user.is_some_and(|user| user.from != user.to);
        let user_style = if changed { BOLD } else { Style::new() };
        let duration = self.duration.map(time::duration).unwrap_or_default();
        let ResultCell { text, style } = &self.result;
        write!(
            out,
            "{DIM}{time:12}{DIM:#} {pid:>7}  {user_style}{user:10}{user_style:#} \
             {style}{text:10}{style:#} {DIM}{duration:>6}{DIM:#}  "
        )?;
        if !self.prefix.is_empty() {
            write!(out, "{DIM}{}{DIM:#}", self.prefix)?;
        }

        let notes = self.notes.join(", ");
        let what = match layout.width {
            None => self.what.clone(),
            Some(width) => {
                let before = COLUMNS
                    + self.prefix.width()
                    + user.width().saturating_sub(10)
                    + text.width().saturating_sub(10);
                let after = if notes.is_empty() {
                    0
                } else {
                    notes.width() + 4
                };
                // Show some of the command even if the line then wraps.
                let room = width.saturating_sub(before + after).max(16);
                sanitize::fit(&self.what, room)
            }
        };
        write!(out, "{what}")?;
        if !notes.is_empty() {
            write!(out, "  {WARN}[{notes}]{WARN:#}")?;
        }
        writeln!(out)
    }

    fn program(&mut self, program: &Program, missing_end: MissingEnd) {
        self.user = Some(program.user);
        self.exec(program.exec);
        match program.end {
            Some(End { after, reason }) => {
                self.duration = Some(after);
                match reason {
                    EndReason::Exited(exit) => self.ended(exit),
                    EndReason::Replaced => self.result = ResultCell::plain("exec"),
                }
            }
            None => {
                self.result = match missing_end {
                    MissingEnd::Running => ResultCell::plain("running"),
                    MissingEnd::Unknown => ResultCell {
                        text: "no end".to_owned(),
                        style: WARN,
                    },
                    MissingEnd::Follows => ResultCell::plain("start"),
                }
            }
        }
    }

    pub(crate) fn ended(&mut self, exit: &ExitEvent) {
        self.result = match exit.status {
            ExitStatus::Code(0) => ResultCell::plain("exit 0"),
            ExitStatus::Code(code) => ResultCell::bad(format!("exit {code}")),
            ExitStatus::Signal { signal, .. } => ResultCell::bad(signal_name(signal)),
        };
        if let ExitStatus::Signal {
            core_dumped: true, ..
        } = exit.status
        {
            self.notes.push("core dumped".to_owned());
        }
    }

    fn exec(&mut self, exec: &ExecEvent) {
        self.what = command(exec);
        self.notes.extend(executable(exec));
        self.notes.extend(oddities(exec));
    }

    fn moved(&mut self, moved: &CgroupMoveEvent, by: MovedBy) {
        self.what = format!("moved from cgroup {} to {}", moved.from.0, moved.to.0);
        let whose = match by {
            MovedBy::ThisSession => "of this session",
            MovedBy::OtherSession => "of another session",
            MovedBy::Host => "of no session",
        };
        self.notes.push(format!("by pid {} {whose}", moved.by_tgid));
    }
}

/// Width of the columns before the branches.
const COLUMNS: usize = 12 + 1 + 7 + 2 + 10 + 1 + 10 + 1 + 6 + 2;

impl ResultCell {
    fn plain(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            style: Style::new(),
        }
    }

    fn bad(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            style: BAD,
        }
    }
}

impl UserChange {
    /// Returns the user ids as numbers: user names differ between hosts, except root.
    pub(crate) fn shown(self) -> String {
        let name = |uid: u32| match uid {
            0 => "root".to_owned(),
            uid => uid.to_string(),
        };
        if self.from == self.to {
            return name(self.to);
        }
        let arrow = charset::shown("→");
        format!("{}{arrow}{}", name(self.from), name(self.to))
    }
}

/// Returns the command as it was given, or the program's file if there was no argv (argc 0).
pub(crate) fn command(exec: &ExecEvent) -> String {
    if exec.argv.is_empty() {
        let path = [&exec.filename, &exec.exe.path];
        let path = path.into_iter().find(|path| !path.is_empty());
        return path.map_or_else(|| "(no argv)".to_owned(), |path| sanitize::command([path]));
    }
    sanitize::command(&exec.argv)
}

/// Returns facts about the executed file that argv does not show.
fn executable(exec: &ExecEvent) -> Vec<String> {
    let mut notes = Vec::new();
    if exec.script {
        notes.push(format!(
            "script {} run by {}",
            sanitize::command([&exec.filename]),
            sanitize::command([&exec.exe.path])
        ));
    } else if let Some(program) = other_name(exec) {
        notes.push(format!("program {program}"));
    }
    if exec.exe.memfd {
        notes.push("memfd".to_owned());
    }
    if exec.exe.deleted {
        notes.push("deleted".to_owned());
    }
    notes
}

/// Returns facts about the exec that are unusual.
fn oddities(exec: &ExecEvent) -> Vec<String> {
    let flags = [
        (exec.argv.is_empty(), "no argv"),
        (exec.redacted, "secrets masked"),
        (exec.argv_fault, "a part of argv could not be read"),
        (exec.other_audit_session, "other audit session"),
        (exec.other_cgroup, "in another session's cgroup"),
    ];
    let mut notes: Vec<String> = flags
        .iter()
        .filter(|(set, _)| *set)
        .map(|(_, note)| (*note).to_owned())
        .collect();
    if exec.over_budget {
        notes.push(format!(
            "cut: the session was over its byte budget; argv had {} bytes",
            exec.argv_true_len
        ));
    } else if exec.argv_truncated {
        notes.push(format!("argv cut: it had {} bytes", exec.argv_true_len));
    }
    notes
}

/// Returns the executed program if argv names another one: a process can choose any argv[0].
fn other_name(exec: &ExecEvent) -> Option<String> {
    let base = |path: &[u8]| path.rsplit(|&b| b == b'/').next().map(<[u8]>::to_vec);
    let said = exec.argv.first()?;
    // A login shell's argv[0] begins with a hyphen.
    let said = base(said.strip_prefix(b"-").unwrap_or(said));
    let known_as = [base(&exec.filename), base(&exec.exe.path)];
    // With a symlink such as `sh`, argv may have the name of the link or of its target.
    (!known_as.contains(&said) && !exec.exe.path.is_empty())
        .then(|| sanitize::command([&exec.exe.path]))
}

/// Returns the label of a program that sshd or PAM ran.
pub(crate) fn phase(phase: Phase) -> Option<&'static str> {
    match phase {
        Phase::User => None,
        Phase::LoginSetup => Some("login setup"),
        Phase::Logout => Some("logout"),
    }
}

/// Returns the reason why it is not certain that the process belongs to the session.
fn doubt(attribution: Attribution) -> Option<&'static str> {
    match attribution {
        Attribution::Lineage => None,
        Attribution::AuditSession => Some("inferred: audit session"),
        Attribution::ProcessTree => Some("inferred: process tree"),
        Attribution::Unattributed => Some("unattributed"),
    }
}
