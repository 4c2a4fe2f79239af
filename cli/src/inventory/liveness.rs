//! The liveness of a host: its last report, or the last test of its SSH port.

use std::time::{Duration, SystemTime};

use super::Host;

/// Maximum age of a report. An older report means that the agent does not report any more.
const FRESH: Duration = Duration::from_mins(10);

/// The liveness of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// The agent reported within ten minutes.
    Up,
    /// The agent reported, but not within ten minutes.
    Stale,
    /// No agent; the last test reached the SSH port.
    Reached,
    /// No agent; the last test did not reach the SSH port.
    Down,
    /// No agent, and no test yet.
    Unprobed,
    /// Unknown, because Postgres is unreachable.
    Unknown,
}

impl Liveness {
    /// Returns the word for tables and JSON.
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

    /// Returns whether the host counts as up in a total.
    pub(crate) fn is_up(self) -> bool {
        matches!(self, Self::Up | Self::Reached)
    }

    /// Returns whether the liveness is unknown, so that a total of hosts that are up leaves it out.
    pub(crate) fn is_unknown(self) -> bool {
        matches!(self, Self::Unprobed | Self::Unknown)
    }
}

impl Host {
    /// Returns the liveness. `now` is the database's clock; `None` for a cached host.
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

    /// Returns the age of the agent's last report; zero for a report from the future, because clocks differ.
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
    fn a_report_of_the_agent_overrides_a_probe() {
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
