//! The state of the user's access: the few lines of `vctl status`. Pure.

use crate::exit_code::Exit;
use crate::fleet::model::{FleetHost, SILENT_AFTER};

/// One line: a subject and its state.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StatusLine {
    pub(crate) subject: &'static str,
    pub(crate) state: LineState,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LineState {
    Well(String),
    /// It works, with a warning.
    Odd {
        is: String,
        fix: String,
    },
    Fails {
        exit: Exit,
        is: String,
        fix: Option<String>,
    },
}

/// Numbers of hosts of the inventory, by their last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AgentCounts {
    pub(crate) reporting: usize,
    pub(crate) silent: usize,
    /// Hosts that never reported.
    pub(crate) none: usize,
}

impl AgentCounts {
    pub(crate) fn of(hosts: &[FleetHost]) -> Self {
        let mut agents = Self::default();
        for host in hosts {
            let silent = host.heartbeat_age.is_none_or(|age| age > SILENT_AFTER);
            match (host.is_known(), silent) {
                (false, _) => agents.none += 1,
                (true, true) => agents.silent += 1,
                (true, false) => agents.reporting += 1,
            }
        }
        agents
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fleet::model::tests::well;

    #[test]
    fn every_host_is_counted_once() {
        let mut silent = well("silent");
        silent.heartbeat_age = Some(SILENT_AFTER + Duration::from_secs(1));
        // Its collector sends events, but no heartbeat ever arrived.
        let mut half = well("half");
        half.heartbeat_age = None;
        let never = FleetHost::default();
        let agents = AgentCounts::of(&[well("a"), silent, half, never, well("b")]);
        let expected = AgentCounts {
            reporting: 2,
            silent: 2,
            none: 1,
        };
        assert_eq!(agents, expected);
    }
}
