//! Hosts with a message that cannot be stored yet, and how long their later messages wait. No I/O.
//!
//! A message that follows such a message is not looked at before its time: JetStream delivers waiting messages before new
//! ones, so frequent attempts of one host would delay all others.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use vctl_common::host::HostName;

/// Reason for a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// An earlier message is not stored yet, or Postgres was disturbed: it passes by itself.
    Soon,
    /// Postgres refuses the batch, or this version cannot read it: it does not pass by itself.
    Refused,
}

impl Reason {
    /// Returns the first pause and the longest one. Each is twice as long as the one before.
    fn limits(self) -> (Duration, Duration) {
        match self {
            Self::Soon => (Duration::from_millis(200), Duration::from_secs(10)),
            Self::Refused => (Duration::from_mins(1), Duration::from_mins(10)),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    /// First message that waits.
    from: u64,
    length: Duration,
    until: Instant,
    /// The same for the messages that follow it.
    later_until: Instant,
}

/// The waiting hosts, as far as this consumer knows.
#[derive(Debug, Default)]
pub(super) struct Pauses(HashMap<HostName, Pause>);

impl Pauses {
    /// Returns how long a message waits; `None` if it may be tried.
    pub(super) fn rest(&self, host: &HostName, message: u64, now: Instant) -> Option<Duration> {
        let pause = self.0.get(host)?;
        let until = if message > pause.from {
            pause.later_until
        } else {
            pause.until
        };
        (message >= pause.from && now < until).then(|| until - now)
    }

    /// Notes that a message cannot be stored, and returns how long it waits.
    pub(super) fn begin(
        &mut self,
        host: &HostName,
        message: u64,
        reason: Reason,
        now: Instant,
    ) -> Duration {
        let (least, most) = reason.limits();
        if let Some(pause) = self.0.get_mut(host)
            && message > pause.from
            && pause.length > most
        {
            // The refused message comes after this one, and its pause keeps its length.
            pause.later_until = now + most;
            return most;
        }
        let last = self.0.get(host).map_or(Duration::ZERO, |last| last.length);
        let length = (last * 2).clamp(least, most);
        let until = now + length;
        let pause = Pause {
            from: message,
            length,
            until,
            later_until: until,
        };
        self.0.insert(host.clone(), pause);
        length
    }

    /// Notes that a message of the host was stored.
    pub(super) fn end(&mut self, host: &HostName) {
        self.0.remove(host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn host(name: &str) -> HostName {
        name.parse().unwrap()
    }

    #[test]
    fn later_messages_wait_and_those_of_others_do_not() {
        let (now, web, db) = (Instant::now(), host("web-1"), host("db-1"));
        let mut pauses = Pauses::default();
        let pause = pauses.begin(&web, 7, Reason::Refused, now);
        assert_eq!(pause, 60 * SECOND);
        for message in [7, 8, 9000] {
            let rest = pauses.rest(&web, message, now + 20 * SECOND);
            assert_eq!(rest, Some(40 * SECOND));
        }
        // The message that is waited for may be an earlier one.
        assert_eq!(pauses.rest(&web, 6, now), None);
        assert_eq!(pauses.rest(&db, 8, now), None);
        assert_eq!(pauses.rest(&web, 8, now + pause), None);
        pauses.end(&web);
        assert_eq!(pauses.rest(&web, 8, now), None);
    }

    #[test]
    fn a_blocked_host_is_tried_less_and_less_often() {
        let (now, web) = (Instant::now(), host("web-1"));
        let mut pauses = Pauses::default();
        let mut lengths = |reason| -> Vec<u64> {
            let pause = |_| pauses.begin(&web, 7, reason, now).as_secs();
            (0..6).map(pause).collect()
        };
        assert_eq!(lengths(Reason::Refused), [60, 120, 240, 480, 600, 600]);
        // A later message that comes first does not make the refused one frequent.
        let after = now + Duration::from_mins(10);
        assert_eq!(pauses.begin(&web, 8, Reason::Soon, after), 10 * SECOND);
        assert_eq!(pauses.rest(&web, 9, after), Some(10 * SECOND));
        assert_eq!(pauses.rest(&web, 7, after), None);
        let refused = pauses.begin(&web, 7, Reason::Refused, after);
        assert_eq!(refused, Duration::from_mins(10));
        let soon = pauses.begin(&web, 7, Reason::Soon, after);
        assert_eq!(soon, 10 * SECOND);
        pauses.end(&web);
        let first = pauses.begin(&web, 7, Reason::Soon, now);
        assert_eq!(first, Duration::from_millis(200));
    }
}
