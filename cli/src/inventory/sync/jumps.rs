//! What a `ProxyJump` says of the hosts it leads through.
//!
//! ssh reads `ProxyJump alice@a:2200,b` as: log in to `a` like that, go on to `b` from there, whatever `b`
//! says of itself. The inventory has one way to each host, and one login. So what the list says becomes so
//! where nothing else is said, and where something else is the host with the list is refused: somebody who
//! got there another way than the file says would be worse off than somebody who is told.

use std::collections::BTreeMap;

use super::plan::Planned;
use super::resolved::Hop;

/// A host that may become a row, as far as it is settled.
pub(super) struct Settling {
    pub(super) planned: Planned,
    /// It has a `Host` line of its own, so its port is said.
    pub(super) is_port_said: bool,
    pub(super) jumps: Vec<Hop>,
}

/// Carries the jumps of the host `name` into those that they lead through, or says why that cannot be.
pub(super) fn settle(hosts: &mut BTreeMap<String, Settling>, name: &str) -> Result<(), String> {
    let Some(host) = hosts.get(name) else {
        return Ok(());
    };
    let jumps = host.jumps.clone();
    let before = std::iter::once(None).chain(jumps.iter().map(Some));
    let steps: Vec<(&Hop, Option<String>)> = jumps
        .iter()
        .zip(before)
        .map(|(hop, before)| (hop, before.map(Hop::name)))
        .collect();
    // All of it or nothing: half of a way would be nobody's.
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

impl Settling {
    fn agrees(&self, hop: &Hop, before: Option<&str>) -> Result<(), String> {
        let Planned {
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
                "its `ProxyJump` logs in to `{name}` as `{here}`, and everybody else as `{own}`"
            ));
        }
        if let Some(here) = hop.port
            && here != *port
            && self.is_port_said
        {
            return Err(format!(
                "its `ProxyJump` has `{name}` at port {here}, which is at port {port} otherwise"
            ));
        }
        if let (Some(own), Some(here)) = (jump, before)
            && own != here
        {
            return Err(format!(
                "its `ProxyJump` leads to `{name}` through `{here}`, which is reached through `{own}` otherwise"
            ));
        }
        Ok(())
    }

    fn adopt(&mut self, hop: &Hop, before: Option<String>) {
        let planned = &mut self.planned;
        if planned.user.is_none() {
            planned.user.clone_from(&hop.user);
        }
        if let Some(port) = hop.port {
            planned.port = port;
            self.is_port_said = true;
        }
        if planned.jump.is_none() {
            planned.jump = before;
        }
    }
}
