//! The result of the import for one host, compared with the inventory before.

use super::planned_host::PlannedHost;
use crate::inventory::Host;

/// The result for a host that is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImportOutcome {
    Added,
    Changed,
    Unchanged,
}

impl ImportOutcome {
    /// Compares the address and port of a host with those that the inventory has.
    pub(crate) fn of(known: Option<&Host>, host: &PlannedHost) -> Self {
        match known {
            None => Self::Added,
            Some(known) if (known.ip, known.ssh_port) == (host.ip, host.port) => Self::Unchanged,
            Some(_) => Self::Changed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::tests::host;

    #[test]
    fn only_a_new_address_or_port_is_a_change() {
        let known = host("web-1");
        let mut planned = PlannedHost {
            name: known.name.clone(),
            ip: known.ip,
            port: known.ssh_port,
            user: Some("another".to_owned()),
            jump: Some("edge".to_owned()),
        };
        let of = |planned: &PlannedHost| ImportOutcome::of(Some(&known), planned);
        assert_eq!(ImportOutcome::of(None, &planned), ImportOutcome::Added);
        assert_eq!(of(&planned), ImportOutcome::Unchanged);
        planned.port += 1;
        assert_eq!(of(&planned), ImportOutcome::Changed);
    }
}
