//! Whether a host is there, as far as anybody knows.

use std::time::{Duration, SystemTime};

use super::Host;

/// An agent that reported longer ago than this has missed a beat.
const FRESH: Duration = Duration::from_mins(10);

/// What is known of a host's being up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// Its agent reported within ten minutes.
    Up,
    /// Its agent has reported, and not lately.
    Stale,
    /// It has no agent, and the last probe reached it.
    Reached,
    /// It has no agent, and the last probe did not reach it.
    Down,
    /// It has no agent, and nothing has probed it yet.
    Unprobed,
    /// Nobody could be asked.
    Unknown,
}

impl Liveness {
    /// The word for it, in tables and in JSON.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Stale => "stale",
            Self::Reached => "up~",
            Self::Down => "down",
            Self::Unprobed => "unknown",
            Self::Unknown => "?",
        }
    }

    /// Whether it counts as up in a total.
    pub(crate) fn is_up(self) -> bool {
        matches!(self, Self::Up | Self::Reached)
    }

    /// Whether nothing is known of it, so that a total of those that are up says nothing of it.
    pub(crate) fn is_unknown(self) -> bool {
        matches!(self, Self::Unprobed | Self::Unknown)
    }
}

impl Host {
    /// `now` is the database's clock; without one the host is known from earlier.
    pub(crate) fn liveness(&self, now: Option<SystemTime>) -> Liveness {
        if now.is_none() {
            return Liveness::Unknown;
        }
        match (self.agent_age(now), self.last_seen_up, self.last_probed_at) {
            (Some(age), ..) if age <= FRESH => Liveness::Up,
            (Some(_), ..) => Liveness::Stale,
            (None, Some(up), Some(probed)) if up < probed => Liveness::Down,
            (None, Some(_), _) => Liveness::Reached,
            (None, None, Some(_)) => Liveness::Down,
            (None, None, None) => Liveness::Unprobed,
        }
    }

    /// How long ago its agent reported. A report from the future is from now: clocks differ.
    pub(crate) fn agent_age(&self, now: Option<SystemTime>) -> Option<Duration> {
        let reported = self.agent.as_ref()?.reported_at;
        Some(now?.duration_since(reported).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::super::AgentSeen;
    use super::super::tests::host;
    use super::*;

    fn after(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn an_agent_says_more_than_a_probe() {
        let liveness = |agent: Option<u64>, up: Option<u64>, probed: Option<u64>| {
            let mut host = host("web-1");
            host.agent = agent.map(|at| AgentSeen {
                version: "0.1.0".to_owned(),
                reported_at: after(at),
                clock_offset_s: None,
            });
            host.last_seen_up = up.map(after);
            host.last_probed_at = probed.map(after);
            host.liveness(Some(after(10_000))).word()
        };
        assert_eq!(liveness(Some(10_000 - 600), None, None), "up");
        assert_eq!(liveness(Some(10_000 - 601), None, None), "stale");
        assert_eq!(liveness(Some(1), Some(9_999), Some(9_999)), "stale");
        assert_eq!(liveness(None, Some(1), Some(1)), "up~");
        assert_eq!(liveness(None, Some(1), Some(2)), "down");
        assert_eq!(liveness(None, None, Some(2)), "down");
        assert_eq!(liveness(None, None, None), "unknown");
        assert_eq!(liveness(Some(10_030), None, None), "up");
        assert_eq!(host("web-1").liveness(None).word(), "?");
    }
}
