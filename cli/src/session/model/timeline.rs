//! Events and missing ranges as the lines of a timeline.
//!
//! A program is one line: its exec, together with its end. Pure.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use vctl_common::event::{CgroupMoveEvent, EventKind, ExecEvent, ExitEvent};
use vctl_common::id::ProcessId;
use vctl_common::time::BootNs;

use super::{Event, History, Hole, Session};

/// One line of a timeline.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) at: BootNs,
    pub(crate) time: SystemTime,
    /// `None` for a missing range.
    pub(crate) event: Option<&'a Event>,
    pub(crate) what: What<'a>,
}

#[derive(Debug)]
pub(crate) enum What<'a> {
    Program(Program<'a>),
    /// A failed exec; the process went on with its old program.
    Failed {
        exec: &'a ExecEvent,
        errno: u32,
        user: User,
        /// Number of directories that a search along PATH tried; 1 for a single attempt.
        places: usize,
    },
    /// The end of a process that executed no program, such as a subshell.
    ForkEnded(&'a ExitEvent),
    Moved {
        moved: &'a CgroupMoveEvent,
        by: Mover,
    },
    Hole(&'a Hole),
}

/// A program that a process executed.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    pub(crate) exec: &'a ExecEvent,
    pub(crate) user: User,
    /// `None` when its end is not recorded.
    pub(crate) end: Option<End<'a>>,
}

/// End of a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End<'a> {
    pub(crate) after: Duration,
    pub(crate) how: How<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum How<'a> {
    Exited(&'a ExitEvent),
    /// The process executed another program, which has its own entry.
    Replaced,
}

/// The process that asked for a cgroup move, relative to the shown session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mover {
    Own,
    Other,
    /// A process of the host itself, for example `systemd`.
    Outside,
}

/// Effective user of a program, and of the process before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) from: u32,
    pub(crate) to: u32,
}

impl User {
    /// `before` is the previous effective user of the process, or that of its parent.
    pub(crate) fn of(exec: &ExecEvent, before: Option<u32>) -> Self {
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

impl Mover {
    pub(crate) fn of(moved: &CgroupMoveEvent, session: &Session) -> Self {
        match moved.by_session {
            Some(mark) if mark == session.opened.id.mark() => Self::Own,
            Some(_) => Self::Other,
            None => Self::Outside,
        }
    }
}

/// Returns the line of one event, without the knowledge of other events; `None` for the end of a process.
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

/// Returns all lines of a session, oldest first.
pub(crate) fn entries(history: &History) -> Vec<Entry<'_>> {
    let mut order: Vec<&Event> = history.events.iter().collect();
    // Events of two CPUs may have the same boot time; their sequence numbers in the session always differ.
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
    /// Returns whether the line is shown without `--full`.
    pub(crate) fn is_essential(&self) -> bool {
        !matches!(self.what, What::ForkEnded(_))
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

/// Inserts each missing range after the events up to its beginning.
///
/// Ordered by the boot clock: the wall clock may have been set while the session ran.
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
