//! The gate of every login with a certificate: lookup of the host, then the check of the user's grants.
//!
//! Every part of vctl that logs in to a host gets its [`RoutePlan`] here, so nothing is signed or dialled without the
//! check.

use super::access::AccessLog;
use super::destination::Destination;
use super::error::SshError;
use super::route_plan;
use super::route_plan::{RoutePlan, SigningRole};
use super::target;
use super::target::LookedUpHost;
use crate::config::Config;
use crate::error::Stop;
use crate::inventory::Host;
use crate::rbac::caller::CallerGrants;
use crate::rbac::command::GatedCommand;
use crate::rbac::gate;
use crate::rbac::scope::{Scope, Target};
use crate::ui::ask::Interaction;

/// A host that the user may log in to.
pub(super) struct PermittedHost {
    pub(super) plan: RoutePlan,
    /// The hosts of the plan in the inventory; empty for an address.
    pub(super) hosts: Vec<Host>,
}

/// The reason why there is no plan.
pub(super) enum NoPlan {
    /// No grant allows it. The attempt is recorded with this plan.
    Refused {
        plan: Box<RoutePlan>,
        error: SshError,
    },
    Stop(Stop),
}

impl NoPlan {
    /// Records a refused attempt, unless it has a row.
    pub(super) async fn record(self, access: &AccessLog<'_>) -> Stop {
        match self {
            Self::Refused { plan, error } => {
                access.record_failure(&plan, &error).await;
                error.into()
            }
            Self::Stop(stop) => stop,
        }
    }
}

impl<E: Into<Stop>> From<E> for NoPlan {
    fn from(error: E) -> Self {
        Self::Stop(error.into())
    }
}

/// Finds the host and the routes to it, and checks that the user may log in to it as the user of the destination.
///
/// # Errors
/// `NotFound` if no host or several hosts match; `Permission` if no grant covers the host. A refusal has a row in the
/// access log.
pub(crate) async fn plan(
    access: &AccessLog<'_>,
    config: &Config,
    destination: &Destination,
    interaction: Interaction,
) -> Result<RoutePlan, Stop> {
    match Box::pin(find(access, config, destination, interaction)).await {
        Ok(permitted) => Ok(permitted.plan),
        Err(none) => Err(none.record(access).await),
    }
}

/// Like [`plan`], but does not record a refusal.
pub(super) async fn find(
    access: &AccessLog<'_>,
    config: &Config,
    destination: &Destination,
    interaction: Interaction,
) -> Result<PermittedHost, NoPlan> {
    destination.check()?;
    let lookup = access.host_lookup();
    let wanted = destination.wanted();
    let found = target::look_up(&lookup, config, &wanted, interaction).await?;
    access.note_lookup(&lookup);
    let LookedUpHost {
        mut plan,
        hosts,
        grants,
    } = found;
    complete(&mut plan, destination, grants.as_ref().ok());
    let context = lookup.context();
    let target = scoped(&plan);
    match gate::require(context, GatedCommand::Ssh, Some(&target), grants).await {
        Ok(()) => Ok(PermittedHost { plan, hosts }),
        Err(refused) => Err(NoPlan::Refused {
            plan: Box::new(plan),
            error: refused.into(),
        }),
    }
}

/// Applies the user and the port of the destination, and the grants of the user.
pub(crate) fn complete(
    plan: &mut RoutePlan,
    destination: &Destination,
    grants: Option<&CallerGrants>,
) {
    if let Some(user) = destination.user() {
        user.clone_into(&mut plan.target.user);
    }
    if let Some(port) = destination.port() {
        plan.target.addr.set_port(port);
    }
    if let Some(grants) = grants {
        for hop in plan.jumps.iter_mut().chain([&mut plan.target]) {
            choose_roles(hop, grants);
        }
    }
}

/// Returns the target of a plan as grants name it.
pub(super) fn scoped(plan: &RoutePlan) -> Target<'_> {
    Target {
        dc: &plan.target.dc,
        host: &plan.target.name,
        user: &plan.target.user,
    }
}

/// Chooses the roles that may sign for a hop, in order: those of the scopes of the user's grants, then the role of the
/// host. With a grant for every target, the role of the host is the first. Vault's policies decide which of them sign.
fn choose_roles(hop: &mut route_plan::Target, grants: &CallerGrants) {
    let target = Target {
        dc: &hop.dc,
        host: &hop.name,
        user: &hop.user,
    };
    let scopes = grants.covering(GatedCommand::Ssh, &target);
    let (everything, narrowed): (Vec<&Scope>, Vec<&Scope>) =
        scopes.partition(|scope| scope.is_everything());
    let mut roles: Vec<SigningRole> = Vec::new();
    for role in narrowed.into_iter().map(SigningRole::within) {
        if !roles.contains(&role) {
            roles.push(role);
        }
    }
    let place = if everything.is_empty() {
        roles.len()
    } else {
        0
    };
    roles.splice(place..place, hop.roles.drain(..));
    hop.roles = roles;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::tests::host;

    #[test]
    fn grants_choose_the_roles_that_sign() {
        let names = |rows: &[&str]| {
            let mut grants = CallerGrants::default();
            for row in rows {
                grants.add("devs".to_owned(), Some(row));
            }
            let mut hop = route_plan::Target::of(&host("web-1"), "ssh");
            choose_roles(&mut hop, &grants);
            let names = hop.roles.iter().map(|role| role.name.clone());
            names.collect::<Vec<String>>().join(" ")
        };
        for (rows, wanted) in [
            (&[][..], "sre-core"),
            (&["*"], "sre-core"),
            (&["ssh"], "sre-core"),
            (&["exec"], "sre-core"),
            (&["ssh:dc=busan"], "sre-core"),
            (&["ssh:dc=seoul"], "vctl-scope-dc-seoul sre-core"),
            (
                &["ssh:dc=seoul", "ssh:dc=seoul"],
                "vctl-scope-dc-seoul sre-core",
            ),
            (&["ssh:dc=seoul", "ssh"], "sre-core vctl-scope-dc-seoul"),
            (
                &["ssh:dc=seoul", "ssh:host=web-*", "ssh:user=ubuntu"],
                "vctl-scope-dc-seoul vctl-scope-host-web-_ sre-core",
            ),
        ] {
            assert_eq!(names(rows), wanted, "{rows:?}");
        }
    }
}
