//! One command, one file: its arguments on top, one `run` below.

pub(crate) mod audit;
pub(crate) mod ca;
pub(crate) mod config;
pub(crate) mod fleet;
pub(crate) mod host;
pub(crate) mod migrate;
pub(crate) mod node_agent;
pub(crate) mod prune;
pub(crate) mod retention;
pub(crate) mod session;
pub(crate) mod list;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod man;
pub(crate) mod sync;
pub(crate) mod ssh;
pub(crate) mod ssh_config;
pub(crate) mod proxy;
pub(crate) mod ssh_agent;
pub(crate) mod known_hosts;
pub(crate) mod token;
pub(crate) mod add;
pub(crate) mod agent;
pub(crate) mod exec;
pub(crate) mod completions;
pub(crate) mod dbedit;
pub(crate) mod delete;
pub(crate) mod doctor;
pub(crate) mod edit;
pub(crate) mod status;

use vctl_common::centre::DbRole;

use crate::context::Context;
use crate::error::Stop;
use crate::login::Interaction;
use crate::{picker, store};

/// Returns the name of the host that somebody chooses.
async fn chosen(context: &Context, interaction: Interaction) -> Result<String, Stop> {
    let client = context.pool(DbRole::Ro)?.get().await?;
    let hosts = store::inventory::hosts(&client).await?;
    Ok(picker::choose(hosts, interaction).await?.name)
}
