//! The tool `vctl_whoami`: the identity that the other tools use.

use jiff::Timestamp;
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use rmcp::schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vctl_common::centre::DbRole;
use vctl_common::person::Person;

use super::answer::Answer;
use super::open_context::OpenContext;
use super::untrusted;
use crate::config::Loaded;
use crate::doctor::token;
use crate::error::Stop;
use crate::inventory::lookup::HostLookup;
use crate::rbac;
use crate::rbac::gate;

pub(super) const NAME: &str = "vctl_whoami";

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct IdentityAnswer {
    /// Short name, as in the records
    identity: String,
    /// Whole display name in Vault, such as `oidc-albert`
    display_name: String,
    /// Login method; null for the token in `VAULT_TOKEN`
    method: Option<String>,
    /// A machine's identity (AppRole), not a person's
    machine: bool,
    /// End of the token, RFC 3339; null if it does not expire
    expires: Option<String>,
    renewable: bool,
    policies: Vec<String>,
    /// Groups in Vault; null if the token may not read them
    groups: Option<Vec<String>>,
    /// The token has an admin policy in Vault
    admin: bool,
    /// Grants in vctl as `COMMAND[:SCOPE]`; `*` is every command. `vctl_ssh_exec` needs `ssh`. Null if Postgres cannot be
    /// asked
    rbac_commands: Option<Vec<String>>,
}

impl Answer for IdentityAnswer {}

pub(super) fn tool() -> Tool {
    let text = "Show the identity in Vault that these tools use: name, policies, groups, grants of commands, and the \
        end of the token. Call it when a tool is refused.";
    Tool::new(NAME, text, JsonObject::new())
        .with_title("Show the identity")
        .with_input_schema::<Arguments>()
        .with_output_schema::<IdentityAnswer>()
        .with_annotations(ToolAnnotations::new().read_only(true).open_world(false))
}

pub(super) async fn call(open: &OpenContext, loaded: &Loaded) -> Result<IdentityAnswer, Stop> {
    let vault = open.context.vault();
    let info = vault.lookup_self().await?;
    let groups = match &info.entity_id {
        Some(entity) => vault.groups_of(entity).await?,
        None => Some(Vec::new()),
    };
    let ttl = info.ttl.filter(|ttl| !ttl.is_zero());
    let expires = ttl.and_then(|ttl| Timestamp::now().checked_add(ttl).ok());
    let admin = gate::admin_policy(&info).is_some();
    let rbac_commands = if admin {
        Some(vec!["*".to_owned()])
    } else {
        grants(open).await
    };
    let texts = |all: &[String]| all.iter().map(untrusted::line).collect();
    Ok(IdentityAnswer {
        identity: untrusted::line(Person::new(info.display_name.as_str()).name()),
        display_name: untrusted::line(&info.display_name),
        method: open.method.clone(),
        machine: token::is_machine_token(&info, &loaded.config.approle_mount),
        expires: expires.map(|at| format!("{at:.0}")),
        renewable: info.renewable,
        policies: texts(&info.policies),
        groups: groups.as_deref().map(texts),
        admin,
        rbac_commands,
    })
}

/// Returns the user's grants, or `None` if they are not known. The other answers of the tool do not need Postgres.
async fn grants(open: &OpenContext) -> Option<Vec<String>> {
    let lookup = HostLookup::with_pool(&open.context, DbRole::Ro, open.pool(DbRole::Ro).ok()?);
    let source = lookup.open().await.ok()?;
    let grants = rbac::lookup::of_source(&open.context, &source).await.ok()?;
    let mut names: Vec<String> = grants
        .grants
        .iter()
        .map(|one| untrusted::line(one.grant.to_string()))
        .collect();
    names.sort_unstable();
    names.dedup();
    Some(names)
}
