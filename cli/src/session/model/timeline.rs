//! Events and missing ranges as the lines of a timeline.
//!
//! A program is one line: its exec, together with its end. Pure.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use vctl_common::event::{CgroupMoveEvent, EventKind, ExecEvent, ExitEvent};
use vctl_common::id::ProcessId;
use vctl_common::time::BootNs;

use super::{Event, History, MissingRange, Session};

/// One line of a timeline.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) at: BootNs,
    pub(crate) time: SystemTime,
    /// `None` for a missing range.
    pub(crate) event: Option<&'a Event>,
    pub(crate) kind: EntryKind<'a>,
}

#[derive(Debug)]
pub(crate) enum EntryKind<'a> {
    Program(Program<'a>),
    /// A failed exec; the process went on with its old program.
    Failed {
        exec: &'a ExecEvent,
        errno: u32,
        user: UserChange,
        /// Number of directories that a search along PATH tried; 1 for a single attempt.
        directories: usize,
    },
    /// The end of a process that executed no program, such as a subshell.
    ForkEnded(&'a ExitEvent),
    Moved {
        moved: &'a CgroupMoveEvent,
        by: MovedBy,
    },
    Missing(&'a MissingRange),
}

/// A program that a process executed.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    pub(crate) exec: &'a ExecEvent,
    pub(crate) user: UserChange,
    /// `None` when its end is not recorded.
    pub(crate) end: Option<End<'a>>,
}

/// End of a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End<'a> {
    pub(crate) after: Duration,
    pub(crate) reason: EndReason<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum EndReason<'a> {
    Exited(&'a ExitEvent),
    /// The process executed another program, which has its own entry.
    Replaced,
}

/// The process that asked for a cgroup move, relative to the shown session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MovedBy {
    ThisSession,
    OtherSession,
    /// A process of the host itself, for example `systemd`.
    Host,
}

/// Effective user of a program, and of the process before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UserChange {
    pub(crate) from: u32,
    pub(crate) to: u32,
}

impl UserChange {
    /// `before` is the previous effective user of the process, or that of its parent.
    fn of_exec(exec: &ExecEvent, before: Option<u32>) -> Self {
        // A set-uid program (sudo, su) has the caller as its real user. Once both ids are changed, only
        // the previous program has the caller's id.
        let from = if exec.ruid == exec.euid {
            before.unwrap_or(exec.euid)
        } else {
            exec.ruid
        };
        Self {
            from,
            to: exec.euid,
        }
    }
}

impl MovedBy {
    fn new(moved: &CgroupMoveEvent, session: &Session) -> Self {
        match moved.by_session {
            Some(mark) if mark == session.opened.id.mark() => Self::ThisSession,
            Some(_) => Self::OtherSession,
            None => Self::Host,
        }
    }
}

/// Returns all lines of a session, oldest first.
pub(crate) fn entries(history: &History) -> Vec<Entry<'_>> {
    let mut order: Vec<&Event> = history.events.iter().collect();
    // Events of two CPUs may have the same boot time; their sequence numbers in the session always differ.
    order.sort_by_key(|event| (event.event.at, event.event.session_seq));

    let mut entries: Vec<Entry> = Vec::with_capacity(order.len());
    let mut running = Running::default();
    for event in order {
        let process = event.event.process;
        let entry = Entry::of_event(event, &history.session, |process| running.euid(process));
        match &event.event.kind {
            EventKind::Exec(exec) => {
                let before = running.start(process, exec, entries.len(), event.event.at);
                set_end(&mut entries, before, event.event.at, EndReason::Replaced);
            }
            EventKind::Exit(exit) => {
                let image = running.stop(process);
                if image.is_some() {
                    set_end(&mut entries, image, event.event.at, EndReason::Exited(exit));
                    continue;
                }
            }
            EventKind::ExecFailed { .. } | EventKind::CgroupMove(_) => {}
        }
        entries.push(entry);
    }
    with_missing_ranges(entries, &history.session)
}

impl<'a> Entry<'a> {
    /// Returns the line of an event, without the end of its program. `euid` returns the effective user of the last
    /// program of a process.
    pub(crate) fn of_event(
        event: &'a Event,
        session: &Session,
        euid: impl Fn(ProcessId) -> Option<u32>,
    ) -> Self {
        let user = |exec: &ExecEvent| {
            let before = euid(event.event.process).or_else(|| euid(exec.parent));
            UserChange::of_exec(exec, before)
        };
        let kind = match &event.event.kind {
            EventKind::Exec(exec) => EntryKind::Program(Program {
                exec,
                user: user(exec),
                end: None,
            }),
            EventKind::ExecFailed { errno, exec } => EntryKind::Failed {
                exec,
                errno: *errno,
                user: user(exec),
                directories: 1,
            },
            EventKind::Exit(exit) => EntryKind::ForkEnded(exit),
            EventKind::CgroupMove(moved) => EntryKind::Moved {
                moved,
                by: MovedBy::new(moved, session),
            },
        };
        Self {
            at: event.event.at,
            time: event.time,
            event: Some(event),
            kind,
        }
    }

    /// Returns whether the line is shown without `--full`.
    pub(crate) fn is_essential(&self) -> bool {
        !matches!(self.kind, EntryKind::ForkEnded(_))
    }
}

/// The current program of each process.
#[derive(Default)]
struct Running {
    images: HashMap<ProcessId, Image>,
    /// Kept after the exit: a child may start after its parent has ended.
    euids: HashMap<ProcessId, u32>,
}

#[derive(Clone, Copy)]
struct Image {
    entry: usize,
    since: BootNs,
}

impl Running {
    fn start(
        &mut self,
        process: ProcessId,
        exec: &ExecEvent,
        entry: usize,
        since: BootNs,
    ) -> Option<Image> {
        self.euids.insert(process, exec.euid);
        self.images.insert(process, Image { entry, since })
    }

    fn stop(&mut self, process: ProcessId) -> Option<Image> {
        self.images.remove(&process)
    }

    fn euid(&self, process: ProcessId) -> Option<u32> {
        self.euids.get(&process).copied()
    }
}

fn set_end<'a>(entries: &mut [Entry<'a>], image: Option<Image>, at: BootNs, reason: EndReason<'a>) {
    let Some(image) = image else { return };
    if let Some(Entry {
        kind: EntryKind::Program(program),
        ..
    }) = entries.get_mut(image.entry)
    {
        program.end = Some(End {
            after: at.since(image.since),
            reason,
        });
    }
}

/// Inserts each missing range after the events up to its beginning.
///
/// Ordered by the boot clock: the wall clock may have been set while the session ran.
fn with_missing_ranges<'a>(mut entries: Vec<Entry<'a>>, session: &'a Session) -> Vec<Entry<'a>> {
    if session.missing_ranges.is_empty() {
        return entries;
    }
    entries.extend(session.missing_ranges.iter().map(|range| Entry {
        at: range.from,
        time: session.wall.wall_time(range.from),
        event: None,
        kind: EntryKind::Missing(range),
    }));
    entries.sort_by_key(|entry| entry.at);
    entries
}
