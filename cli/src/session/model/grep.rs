//! `--grep`: search for programs that were started with certain bytes, or that match other conditions.

use vctl_common::count::counted;
use vctl_common::event::{EventKind, KernelEvent};

use super::program_filter::ProgramFilter;
use super::{Event, Session};

/// Maximum number of matching lines shown per session.
pub(crate) const MOST_LINES: usize = 20;

/// Bytes to search for. Case matters, and no character is special except the blank, which also matches the boundary
/// between two arguments.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    /// Empty for any bytes.
    forms: Vec<Vec<u8>>,
    programs: ProgramFilter,
    login_work: bool,
}

/// A session with its matching lines.
#[derive(Debug)]
pub(crate) struct GrepMatch {
    pub(crate) session: Session,
    /// In their order: executed programs and failed attempts.
    pub(crate) events: Vec<Event>,
    /// More than [`MOST_LINES`] lines match.
    pub(crate) more: bool,
}

/// The result of a search.
#[derive(Debug)]
pub(crate) struct SearchResult {
    /// The newest first.
    pub(crate) matches: Vec<GrepMatch>,
    /// `None`: this source deletes no events of a session that it lists.
    pub(crate) pruned: Option<Pruned>,
}

/// Maximum number of sessions without their first events that a search counts.
pub(crate) const MOST_PRUNED: u64 = 10_000;

/// The selected sessions whose first events, or all of them, were deleted after their retention period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pruned {
    /// The number that was counted; [`MOST_PRUNED`] at most.
    pub(crate) sessions: u64,
    /// There are more than were counted, or it is not known.
    pub(crate) more: bool,
    /// The oldest day with events, as `2026-11-16`; `None` without any.
    pub(crate) oldest_day: Option<String>,
}

impl Pruned {
    /// The count took too long.
    pub(crate) const UNCOUNTED: Self = Self {
        sessions: 0,
        more: true,
        oldest_day: None,
    };

    /// Returns whether no session of the search lacks its events.
    pub(crate) fn lacks_nothing(&self) -> bool {
        self.sessions == 0 && !self.more
    }

    /// Returns the note for the reader; `None` if the search saw all events.
    pub(crate) fn note(&self) -> Option<String> {
        if self.lacks_nothing() {
            return None;
        }
        if *self == Self::UNCOUNTED {
            let note = "the count of sessions without their events, which were deleted after their retention period, \
                        took too long; `--since` limits it";
            return Some(note.to_owned());
        }
        let sessions = counted(self.sessions, "session");
        let more = if self.more { "more than " } else { "" };
        let since = self.oldest_day.as_deref();
        let since = since.map_or_else(String::new, |day| {
            format!("; events are stored since {day}")
        });
        Some(format!(
            "events of {more}{sessions} were not searched, because they were deleted after their retention period{since}"
        ))
    }
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Self {
        Self {
            forms: forms(text.as_bytes()),
            programs: ProgramFilter::default(),
            login_work: false,
        }
    }

    /// A search for programs with any bytes.
    pub(crate) fn any() -> Self {
        Self {
            forms: Vec::new(),
            programs: ProgramFilter::default(),
            login_work: false,
        }
    }

    /// Sets further conditions.
    pub(crate) fn with_programs(self, programs: ProgramFilter) -> Self {
        Self { programs, ..self }
    }

    pub(crate) fn programs(&self) -> &ProgramFilter {
        &self.programs
    }

    /// Removes the events that do not match. They are all of a session, in the order of time.
    pub(crate) fn retain(&self, events: &mut Vec<Event>) {
        let ends = self
            .programs
            .matching_ends(events.iter().map(|event| &event.event));
        let mut ends = ends.into_iter();
        events.retain(|event| ends.next().unwrap_or_default() && self.matches(&event.event));
    }

    /// Sets whether programs that sshd and PAM ran at login and logout are searched too.
    pub(crate) fn with_login_work(self, login_work: bool) -> Self {
        Self { login_work, ..self }
    }

    pub(crate) fn has_login_work(&self) -> bool {
        self.login_work
    }

    /// Returns the byte strings, one of which must occur.
    pub(crate) fn forms(&self) -> &[Vec<u8>] {
        &self.forms
    }

    /// Returns whether the event is a program with these bytes in its arguments or path; its end is not compared.
    pub(crate) fn matches(&self, event: &KernelEvent) -> bool {
        let (EventKind::Exec(exec) | EventKind::ExecFailed { exec, .. }) = &event.kind else {
            return false;
        };
        if !self.login_work && !event.phase.is_users() || !self.programs.matches_start(event) {
            return false;
        }
        // NUL after each argument, as in memory and in the store.
        let argv = exec.argv.iter().flat_map(|item| item.iter().chain(&[0]));
        let argv: Vec<u8> = argv.copied().collect();
        let directories = [&argv, &exec.exe.path, &exec.filename];
        let is_in = |form: &Vec<u8>| directories.iter().any(|place| contains(place, form));
        self.forms.is_empty() || self.forms.iter().any(is_in)
    }
}

/// With more blanks than this, either all of them match blanks or all match boundaries.
const MOST_BLANKS: usize = 5;

fn forms(text: &[u8]) -> Vec<Vec<u8>> {
    let blanks: Vec<usize> = (0..text.len()).filter(|&at| text[at] == b' ').collect();
    let with_borders = |is_border: &dyn Fn(usize) -> bool| {
        let mut form = text.to_vec();
        for (nth, &at) in blanks.iter().enumerate() {
            if is_border(nth) {
                form[at] = 0;
            }
        }
        form
    };
    if blanks.len() > MOST_BLANKS {
        return vec![text.to_vec(), with_borders(&|_| true)];
    }
    (0..1_u32 << blanks.len())
        .map(|borders| with_borders(&|nth| borders >> nth & 1 == 1))
        .collect()
}

fn contains(place: &[u8], form: &[u8]) -> bool {
    form.is_empty() || place.windows(form.len()).any(|window| window == form)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Login;

    fn is_found(pattern: &str, argv: &[&str]) -> bool {
        let history = Login::of_alice().exec(4102, 4101, argv).open();
        Pattern::new(pattern).matches(&history.events[0].event)
    }

    #[test]
    fn blank_also_matches_the_boundary_between_arguments() {
        assert!(is_found("rm -rf /srv", &["rm", "-rf", "/srv"]));
        assert!(is_found("sh -c rm -rf /srv", &["sh", "-c", "rm -rf /srv"]));
        assert!(is_found("echo a b", &["echo", "a b"]));
        assert!(!is_found("rm-rf", &["rm", "-rf"]));
    }

    #[test]
    fn bytes_are_compared_as_they_are() {
        assert!(is_found(".*", &["grep", ".*"]) && !is_found("g.ep", &["grep"]));
        assert!(!is_found("Grep", &["grep"]));
        assert!(
            is_found("/usr/bin/gr", &["grep"]),
            "the path counts as well"
        );
    }
}
