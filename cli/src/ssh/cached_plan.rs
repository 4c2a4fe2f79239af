//! The plan of a connection from what is cached on this machine: hosts, grants and the mount that signs.
//!
//! It lets a connection begin while the real lookup runs, and decides nothing: [`early_connection`](super::early_connection) compares it with
//! the answer of the lookup.

use jiff::Timestamp;

use super::destination::Destination;
use super::gate;
use super::route_plan::RoutePlan;
use super::target::{HostSelector, address_target, one_of, plan_of};
use crate::centre::context::Context;
use crate::config::Config;
use crate::inventory::cache::{RecentFile, SnapshotFile};
use crate::inventory::{Host, Route, resolve};
use crate::rbac::cache::GrantsFile;
use crate::rbac::command::GatedCommand;
use crate::ui::ask::Interaction;

/// Returns the plan, if the cached grants of this user permit it and the cached hosts have one host of this name.
pub(super) fn cached_plan(
    context: &Context,
    config: &Config,
    destination: &Destination,
    interaction: Interaction,
) -> Option<RoutePlan> {
    destination.check().ok()?;
    let now = Timestamp::now();
    let (state, settings) = (context.state(), context.settings());
    let person = context.known_display_name()?;
    let grants = GrantsFile::of(state, settings, person).read(now).ok()?;
    let mount = RecentFile::in_dir(state, settings).read().signing_mount;
    let mount = mount.as_deref().unwrap_or(&settings.vault.ssh_mount);
    let mut plan = match destination.wanted() {
        HostSelector::Address { user, addr } => {
            let target = address_target(config, &user, addr, mount);
            RoutePlan::new(Vec::new(), target, true)
        }
        HostSelector::Any => return None,
        ref wanted @ (HostSelector::Part(ref query)
        | HostSelector::PartForCommand(ref query)
        | HostSelector::Exact(ref query)) => {
            let file = SnapshotFile::in_dir(state, settings);
            let hosts = file.read_small(now).ok()?.hosts;
            // The lookup asks the user before a command runs on the host of a part of a name.
            let parts = matches!(wanted, HostSelector::Part(_)) && wanted.accepts_part(interaction);
            let found = resolve(&hosts, query).into_iter().cloned().collect();
            let host = one_of(found, parts, query).ok()?;
            let route = Route::among(&hosts, &host.name).ok()?;
            plan_of(&route, mount, config)?
        }
    };
    gate::complete(&mut plan, destination, Some(&grants));
    grants.permitting(GatedCommand::Ssh, Some(&gate::scoped(&plan)))?;
    Some(plan)
}

/// Stores what the lookup returned instead of the cached plan, so that the next connection begins with it.
pub(super) fn correct(context: &Context, plan: &RoutePlan, hosts: &[Host]) {
    let (state, settings) = (context.state(), context.settings());
    let mount = plan.target.mount.clone();
    RecentFile::in_dir(state, settings).change(|recent| recent.signing_mount = Some(mount));
    let file = SnapshotFile::in_dir(state, settings);
    file.correct(Timestamp::now(), |cached| {
        cached.retain(|old| hosts.iter().all(|host| host.name != old.name));
        cached.extend_from_slice(hosts);
    });
}

/// Removes a host that the inventory no longer has.
pub(super) fn forget(context: &Context, plan: &RoutePlan) {
    let file = SnapshotFile::in_dir(context.state(), context.settings());
    file.correct(Timestamp::now(), |cached| {
        cached.retain(|old| old.name != plan.target.name);
    });
}
