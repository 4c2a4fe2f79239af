//! Hosts with a batch that is not stored: which problem is logged, and which hosts still wait. No I/O.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use vctl_common::host::HostName;

/// A refused batch is tried at least every ten minutes. One that was not tried for longer has left the stream.
const FORGOTTEN: Duration = Duration::from_mins(15);

#[derive(Debug)]
struct Problem {
    /// Number of its message in the stream.
    message: u64,
    what: String,
    at: Instant,
}

/// The last problem of each host.
#[derive(Debug, Default)]
pub(super) struct Problems(BTreeMap<HostName, Problem>);

impl Problems {
    /// Notes a problem, and returns whether it is not the one that was noted before.
    pub(super) fn begin(
        &mut self,
        host: &HostName,
        message: u64,
        what: &str,
        now: Instant,
    ) -> bool {
        let new = Problem {
            message,
            what: what.to_owned(),
            at: now,
        };
        let old = self.0.insert(host.clone(), new);
        old.is_none_or(|old| old.message != message || old.what != what)
    }

    /// Notes a stored message, and returns whether it is the one with the problem. A message of another spool of the host
    /// may be stored while it waits.
    pub(super) fn end(&mut self, host: &HostName, message: u64) -> bool {
        let is_it = self.0.get(host).is_some_and(|old| old.message == message);
        if is_it {
            self.0.remove(host);
        }
        is_it
    }

    /// Returns the hosts with a batch that waits.
    pub(super) fn waiting(&mut self, now: Instant) -> Vec<HostName> {
        self.0.retain(|_, problem| now - problem.at < FORGOTTEN);
        self.0.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_batch_waits_until_it_is_stored_or_removed() {
        let (now, web) = (Instant::now(), "web-1".parse::<HostName>().unwrap());
        let mut problems = Problems::default();
        assert!(problems.begin(&web, 7, "refused", now));
        assert!(!problems.begin(&web, 7, "refused", now));
        // Of another spool: the refused one still waits.
        assert!(!problems.end(&web, 9));
        assert_eq!(problems.waiting(now), std::slice::from_ref(&web));
        assert!(problems.end(&web, 7));
        assert!(problems.waiting(now).is_empty());
        // Another batch with the same problem is another one.
        assert!(problems.begin(&web, 8, "refused", now));
        assert!(problems.begin(&web, 9, "refused", now));
        assert!(problems.waiting(now + FORGOTTEN).is_empty());
    }
}
