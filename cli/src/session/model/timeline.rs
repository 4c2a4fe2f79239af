//! Events and holes as the lines of a timeline.
//!
//! A program is one line: its exec, with the end it came to. Pure.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use vctl_common::event::{CgroupMoveEvent, EventKind, ExecEvent, ExitEvent};
use vctl_common::id::ProcessId;
use vctl_common::time::BootNs;

use super::{Event, History, Hole, Session};

/// One thing to show, at its time.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) at: BootNs,
    pub(crate) time: SystemTime,
    /// `None` for a hole.
    pub(crate) event: Option<&'a Event>,
    pub(crate) what: What<'a>,
}

#[derive(Debug)]
pub(crate) enum What<'a> {
    Program(Program<'a>),
    /// The attempt; the process went on as what it was.
    Failed {
        exec: &'a ExecEvent,
        errno: u32,
        user: User,
        /// Directories that a search tried in vain; 1 for an attempt of its own.
        places: usize,
    },
    /// A process that never ran a program of its own: a subshell, a fork that only waited.
    ForkEnded(&'a ExitEvent),
    Moved {
        moved: &'a CgroupMoveEvent,
        by: Mover,
    },
    Hole(&'a Hole),
}

/// A program image of a process.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    pub(crate) exec: &'a ExecEvent,
    pub(crate) user: User,
    /// `None` when no end of it is recorded.
    pub(crate) end: Option<End<'a>>,
}

/// How a program image ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End<'a> {
    pub(crate) after: Duration,
    pub(crate) how: How<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum How<'a> {
    Exited(&'a ExitEvent),
    /// The process executed another program, which is an entry of its own.
    Replaced,
}

/// Whose process asked for a move, seen from the session that shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mover {
    Own,
    Other,
    /// The host's own work, `systemd` for one.
    Outside,
}

/// Whose rights the program has, and whose they were before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) from: u32,
    pub(crate) to: u32,
}

impl User {
    /// `before` is the effective user of the process until now, or of its parent.
    pub(crate) fn of(exec: &ExecEvent, before: Option<u32>) -> Self {
        // A set-uid program (sudo, su) has the caller as its real user. Once both are changed, only
        // what ran before tells who it was.
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

impl Mover {
    pub(crate) fn of(moved: &CgroupMoveEvent, session: &Session) -> Self {
        match moved.by_session {
            Some(mark) if mark == session.opened.id.mark() => Self::Own,
            Some(_) => Self::Other,
            None => Self::Outside,
        }
    }
}

/// Returns one event as a line of its own, as far as it can be told without those around it; `None`
/// for the end of a process.
pub(crate) fn single<'a>(event: &'a Event, session: &Session) -> Option<Entry<'a>> {
    let what = match &event.event.kind {
        EventKind::Exec(exec) => What::Program(Program {
            exec,
            user: User::of(exec, None),
            end: None,
        }),
        EventKind::ExecFailed { errno, exec } => What::Failed {
            exec,
            errno: *errno,
            user: User::of(exec, None),
            places: 1,
        },
        EventKind::Exit(_) => return None,
        EventKind::CgroupMove(moved) => What::Moved {
            moved,
            by: Mover::of(moved, session),
        },
    };
    Some(Entry {
        at: event.event.at,
        time: event.time,
        event: Some(event),
        what,
    })
}

/// Returns everything that happened, oldest first.
pub(crate) fn entries(history: &History) -> Vec<Entry<'_>> {
    let mut order: Vec<&Event> = history.events.iter().collect();
    // The boot clock of two CPUs may give one nanosecond twice; the session's count never does.
    order.sort_by_key(|event| (event.event.at, event.event.session_seq));

    let mut entries: Vec<Entry> = Vec::with_capacity(order.len());
    let mut running = Running::default();
    for event in order {
        let what = match &event.event.kind {
            EventKind::Exec(exec) => {
                let user = running.user(event.event.process, exec);
                let index = entries.len();
                let before = running.start(event.event.process, exec, index, event.event.at);
                end(&mut entries, before, event.event.at, How::Replaced);
                What::Program(Program {
                    exec,
                    user,
                    end: None,
                })
            }
            EventKind::ExecFailed { errno, exec } => What::Failed {
                exec,
                errno: *errno,
                user: running.user(event.event.process, exec),
                places: 1,
            },
            EventKind::Exit(exit) => match running.stop(event.event.process) {
                None => What::ForkEnded(exit),
                image => {
                    end(&mut entries, image, event.event.at, How::Exited(exit));
                    continue;
                }
            },
            EventKind::CgroupMove(moved) => What::Moved {
                moved,
                by: Mover::of(moved, &history.session),
            },
        };
        entries.push(Entry {
            at: event.event.at,
            time: event.time,
            event: Some(event),
            what,
        });
    }
    with_holes(entries, &history.session)
}

impl Entry<'_> {
    /// Says whether the entry is worth a line unless everything is asked for.
    pub(crate) fn is_essential(&self) -> bool {
        !matches!(self.what, What::ForkEnded(_))
    }
}

/// The program each process runs at a moment.
#[derive(Default)]
struct Running {
    images: HashMap<ProcessId, Image>,
    /// Kept after the exit: a child may be seen when its parent is gone.
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

    fn user(&self, process: ProcessId, exec: &ExecEvent) -> User {
        let before = self.euids.get(&process).or(self.euids.get(&exec.parent));
        User::of(exec, before.copied())
    }
}

fn end<'a>(entries: &mut [Entry<'a>], image: Option<Image>, at: BootNs, how: How<'a>) {
    let Some(image) = image else { return };
    if let Some(Entry {
        what: What::Program(program),
        ..
    }) = entries.get_mut(image.entry)
    {
        program.end = Some(End {
            after: at.since(image.since),
            how,
        });
    }
}

/// Puts each hole behind the events up to its beginning.
///
/// By the boot clock: the wall clock may have been stepped while the session ran.
fn with_holes<'a>(mut entries: Vec<Entry<'a>>, session: &'a Session) -> Vec<Entry<'a>> {
    if session.holes.is_empty() {
        return entries;
    }
    entries.extend(session.holes.iter().map(|hole| Entry {
        at: hole.from,
        time: session.wall.wall_time(hole.from),
        event: None,
        what: What::Hole(hole),
    }));
    entries.sort_by_key(|entry| entry.at);
    entries
}
