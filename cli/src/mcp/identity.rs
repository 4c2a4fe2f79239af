//! The tool `vctl_whoami`: the identity that the other tools use.

use jiff::Timestamp;
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use rmcp::schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vctl_common::person::Person;

use super::answer::Answer;
use super::open_context::OpenContext;
use super::untrusted;
use crate::config::Loaded;
use crate::doctor::token;
use crate::error::Stop;

pub(super) const NAME: &str = "vctl_whoami";

/// The policy of administrators.
const ADMIN: &str = "vctl-admin";

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
    /// The token has the policy of administrators
    admin: bool,
}

impl Answer for IdentityAnswer {}

pub(super) fn tool() -> Tool {
    let text = "Show the identity in Vault that these tools use: name, policies, groups, and the end of the token.";
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
        admin: info
            .policies
            .iter()
            .any(|one| one == ADMIN || one == "root"),
    })
}
