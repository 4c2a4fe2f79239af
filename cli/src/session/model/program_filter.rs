//! `--path`, `--exit`, `--failed`, `--root`: conditions for programs.

use std::collections::HashMap;

use vctl_common::event::{EventKind, ExitStatus, KernelEvent};
use vctl_common::glob;
use vctl_common::id::ProcessId;

/// Conditions that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProgramFilter {
    /// Pattern of the executed file, or of the name in the call of exec.
    path: Option<String>,
    pub(crate) ending: Option<Ending>,
    /// Only programs with root as effective user.
    pub(crate) root: bool,
}

/// The end of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A status that is not 0, a signal, or a failed exec.
    Failed,
    Code(u8),
}

impl ProgramFilter {
    /// `path` without a slash is the name of a file in any directory.
    pub(crate) fn new(path: Option<&str>, ending: Option<Ending>, root: bool) -> Self {
        let path = path.map(|path| {
            if path.contains('/') {
                path.to_owned()
            } else {
                format!("*/{path}")
            }
        });
        Self { path, ending, root }
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the pattern of the path for `LIKE` of Postgres.
    pub(crate) fn like(&self) -> Option<Vec<u8>> {
        let like = |path: &String| {
            let mut like = Vec::with_capacity(path.len());
            for byte in path.bytes() {
                match byte {
                    b'*' => like.push(b'%'),
                    b'?' => like.push(b'_'),
                    b'%' | b'_' | b'\\' => like.extend([b'\\', byte]),
                    _ => like.push(byte),
                }
            }
            like
        };
        self.path.as_ref().map(like)
    }

    /// Returns whether path and user of a program match.
    pub(crate) fn matches_start(&self, event: &KernelEvent) -> bool {
        let (EventKind::Exec(exec) | EventKind::ExecFailed { exec, .. }) = &event.kind else {
            return false;
        };
        let is_path = |pattern: &String| {
            let pattern = pattern.as_bytes();
            glob::matches(pattern, &exec.exe.path) || glob::matches(pattern, &exec.filename)
        };
        self.path.as_ref().is_none_or(is_path) && (!self.root || exec.euid == 0)
    }

    /// Returns, for each event in the order of time, whether it is a program whose end matches.
    pub(crate) fn matching_ends<'a>(
        &self,
        events: impl Iterator<Item = &'a KernelEvent>,
    ) -> Vec<bool> {
        let mut matching = Vec::new();
        // The last program of each process.
        let mut running: HashMap<ProcessId, usize> = HashMap::new();
        for (index, event) in events.enumerate() {
            let is_match = match (&event.kind, self.ending) {
                (EventKind::ExecFailed { .. }, ending) => !matches!(ending, Some(Ending::Code(_))),
                (EventKind::Exec(_), None) => true,
                (EventKind::Exec(_), Some(_)) => {
                    running.insert(event.process, index);
                    false
                }
                (EventKind::Exit(exit), Some(ending)) => {
                    if let Some(program) = running.remove(&event.process) {
                        matching[program] = ending.matches(exit.status);
                    }
                    false
                }
                _ => false,
            };
            matching.push(is_match);
        }
        matching
    }
}

impl Ending {
    /// Returns the condition of `--exit` or `--failed`.
    pub(crate) fn of_options(exit: Option<u8>, failed: bool) -> Option<Self> {
        exit.map(Self::Code).or(failed.then_some(Self::Failed))
    }

    pub(crate) fn matches(self, status: ExitStatus) -> bool {
        match self {
            Self::Failed => status != ExitStatus::Code(0),
            Self::Code(code) => status == ExitStatus::Code(code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Login;

    #[test]
    fn the_end_is_that_of_the_last_program_of_a_process() {
        let history = Login::of_alice()
            .exec(4101, 4100, &["sh"])
            .exec(4101, 4100, &["ls"])
            .exit(4101, 4100, 2)
            .exec(4102, 4100, &["true"])
            .exit(4102, 4100, 0)
            .exec_failed(4103, 4100, 2, &["nope"])
            .killed(4103, 4100, 9)
            .open();
        let ends = |ending| {
            let filter = ProgramFilter::new(None, ending, false);
            let matching = filter.matching_ends(history.events.iter().map(|event| &event.event));
            let numbers = (0..matching.len()).filter(|number| matching[*number]);
            numbers.collect::<Vec<_>>()
        };
        assert_eq!(ends(Some(Ending::Failed)), [1, 5]);
        assert_eq!(ends(Some(Ending::Code(2))), [1]);
        assert_eq!(ends(Some(Ending::Code(0))), [3]);
        assert_eq!(ends(None), [0, 1, 3, 5]);
    }

    #[test]
    fn a_name_is_found_in_any_directory() {
        let history = Login::of_alice().exec(4101, 4100, &["grep"]).open();
        for (path, expected) in [
            ("grep", true),
            ("/usr/bin/*", true),
            ("/usr/bin/gr?p", true),
            ("rep", false),
            ("/usr", false),
        ] {
            let filter = ProgramFilter::new(Some(path), None, false);
            assert_eq!(
                filter.matches_start(&history.events[0].event),
                expected,
                "{path}"
            );
        }
        let like = ProgramFilter::new(Some("/a_b%*?\\"), None, false).like();
        assert_eq!(like.as_deref(), Some(&b"/a\\_b\\%%_\\\\"[..]));
    }
}
