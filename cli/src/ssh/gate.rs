//! The gate of every login with a certificate: lookup of the host, then the check of the user's grants.
//!
//! Every part of vctl that logs in to a host gets its [`RoutePlan`] here, so nothing is signed or dialled without the
//! check.

use super::access::AccessLog;
use super::destination::Destination;
use super::error::SshError;
use super::route_plan::RoutePlan;
use super::target;
use super::target::LookedUpHost;
use crate::config::Config;
use crate::error::{CliError, Stop};
use crate::rbac::command::GatedCommand;
use crate::rbac::gate;
use crate::rbac::scope::Target;
use crate::ui::ask::Interaction;

/// Finds the host and the routes to it, and checks that the user may log in to it as the user of the destination.
///
/// # Errors
/// No host, or several; or the user has no grant for it. A refusal has a row in the access log.
pub(crate) async fn plan(
    access: &AccessLog<'_>,
    config: &Config,
    destination: &Destination,
    interaction: Interaction,
) -> Result<RoutePlan, Stop> {
    let directory = access.directory();
    let wanted = destination.wanted();
    let found = target::look_up(&directory, config, &wanted, interaction).await?;
    access.note_lookup(&directory);
    let LookedUpHost {
        mut plan,
        dc,
        grants,
    } = found;
    if let Some(user) = destination.user() {
        user.clone_into(&mut plan.target.user);
    }
    if let Some(port) = destination.port() {
        plan.target.addr.set_port(port);
    }
    let target = Target {
        dc: &dc,
        host: &plan.target.name,
        user: &plan.target.user,
    };
    let context = directory.context();
    match gate::require(context, GatedCommand::Ssh, Some(&target), grants).await {
        Ok(()) => Ok(plan),
        Err(refused) => Err(record(access, &plan, refused).await),
    }
}

async fn record(access: &AccessLog<'_>, plan: &RoutePlan, refused: CliError) -> Stop {
    let refused = SshError::from(refused);
    access.record_failure(plan, &refused).await;
    refused.into()
}
