//! The settings of jump hosts that a `ProxyJump` contains.
//!
//! ssh reads `ProxyJump alice@a:2200,b` as: log in to `a` as alice at port 2200, then go on to `b` from there,
//! whatever the settings of `b` say. The inventory has one route and one user for each host. So the values of
//! the list are used for jump hosts that have no other value; if they contradict, the host with the list is
//! refused: a connection by another route than in the file would be worse than an error.

use std::collections::BTreeMap;

use super::planned_host::PlannedHost;
use super::resolved::ProxyJumpHop;

/// A host that may become a row of the inventory.
pub(super) struct PendingHost {
    pub(super) planned: PlannedHost,
    /// Whether the port is set by its own `Host` line.
    pub(super) is_port_set: bool,
    pub(super) jumps: Vec<ProxyJumpHop>,
}

/// Copies the values of the `ProxyJump` of host `name` to the jump hosts, or returns a contradiction.
pub(super) fn settle(hosts: &mut BTreeMap<String, PendingHost>, name: &str) -> Result<(), String> {
    let Some(host) = hosts.get(name) else {
        return Ok(());
    };
    let jumps = host.jumps.clone();
    let before = std::iter::once(None).chain(jumps.iter().map(Some));
    let steps: Vec<(&ProxyJumpHop, Option<String>)> = jumps
        .iter()
        .zip(before)
        .map(|(hop, before)| (hop, before.map(ProxyJumpHop::name)))
        .collect();
    // All checks come before the first change: half of a route would be wrong.
    for (hop, before) in &steps {
        if let Some(jump) = hosts.get(&hop.name()) {
            jump.agrees(hop, before.as_deref())?;
        }
    }
    for (hop, before) in steps {
        if let Some(jump) = hosts.get_mut(&hop.name()) {
            jump.adopt(hop, before);
        }
    }
    Ok(())
}

impl PendingHost {
    fn agrees(&self, hop: &ProxyJumpHop, before: Option<&str>) -> Result<(), String> {
        let PlannedHost {
            name,
            port,
            user,
            jump,
            ..
        } = &self.planned;
        if let (Some(own), Some(here)) = (user, &hop.user)
            && own != here
        {
            return Err(format!(
                "its `ProxyJump` logs in to `{name}` as `{here}`, but other hosts use `{own}`"
            ));
        }
        if let Some(here) = hop.port
            && here != *port
            && self.is_port_set
        {
            return Err(format!(
                "its `ProxyJump` has port {here} for `{name}`, but other hosts use port {port}"
            ));
        }
        if let (Some(own), Some(here)) = (jump, before)
            && own != here
        {
            return Err(format!(
                "its `ProxyJump` reaches `{name}` through `{here}`, but other hosts through `{own}`"
            ));
        }
        Ok(())
    }

    fn adopt(&mut self, hop: &ProxyJumpHop, before: Option<String>) {
        let planned = &mut self.planned;
        if planned.user.is_none() {
            planned.user.clone_from(&hop.user);
        }
        if let Some(port) = hop.port {
            planned.port = port;
            self.is_port_set = true;
        }
        if planned.jump.is_none() {
            planned.jump = before;
        }
    }
}
