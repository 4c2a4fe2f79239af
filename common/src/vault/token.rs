//! The identity of a token.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use tracing::Instrument as _;
use vaultrs::api::token::requests::LookupTokenSelfRequest;

use super::auth::Session;
use super::http::Request;
use super::{Vault, VaultError};
use crate::spans;

/// Vault's data about the current token.
#[derive(Clone, Debug)]
pub struct TokenInfo {
    /// The complete name: `oidc-albert`.
    pub display_name: String,
    /// Policies of the token and of its identity, each once.
    pub policies: Vec<String>,
    /// Time left; `None` for a token that never expires.
    pub ttl: Option<Duration>,
    pub renewable: bool,
    pub accessor: String,
    /// Path of its login: `auth/approle/login`.
    pub path: String,
    pub meta: BTreeMap<String, String>,
    /// Its entity in Vault, which is a member of groups.
    pub entity_id: Option<String>,
}

impl Vault {
    /// Asks Vault for the token's identity. Costs a round trip, so only few commands use it.
    ///
    /// # Errors
    /// `TokenInvalid` when the token is not valid.
    pub async fn lookup_self(&self) -> Result<TokenInfo, VaultError> {
        let session = self.session().await?;
        self.look_up_token(&session).await
    }

    pub(super) async fn look_up_token(&self, session: &Session) -> Result<TokenInfo, VaultError> {
        // vaultrs' type contains the token itself and prints it.
        #[derive(Deserialize)]
        struct Answer {
            data: Data,
        }
        #[derive(Deserialize)]
        struct Data {
            display_name: String,
            #[serde(default)]
            policies: Vec<String>,
            identity_policies: Option<Vec<String>>,
            #[serde(default)]
            ttl: u64,
            renewable: Option<bool>,
            #[serde(default)]
            accessor: String,
            #[serde(default)]
            path: String,
            meta: Option<BTreeMap<String, String>>,
            entity_id: Option<String>,
        }
        let request = Request::of(&LookupTokenSelfRequest {});
        let sent = self.0.transport.send(Some(&session.token), &request);
        let body = sent.instrument(spans::auth()).await;
        let body = body.map_err(|error| match error {
            VaultError::Denied { .. } => VaultError::TokenInvalid,
            other => other,
        })?;
        let Answer { data } = request.read(&body)?;
        let mut policies = data.policies;
        policies.extend(data.identity_policies.unwrap_or_default());
        policies.sort();
        policies.dedup();
        Ok(TokenInfo {
            display_name: data.display_name,
            policies,
            ttl: (data.ttl > 0).then(|| Duration::from_secs(data.ttl)),
            renewable: data.renewable.unwrap_or(false),
            accessor: data.accessor,
            path: data.path,
            meta: data.meta.unwrap_or_default(),
            entity_id: data.entity_id.filter(|id| !id.is_empty()),
        })
    }

    /// Returns the groups of an entity by name, or by id if the name may not be read. `None` if the
    /// token may not read the entity.
    pub async fn groups_of(&self, entity_id: &str) -> Result<Option<Vec<String>>, VaultError> {
        let entity = match self.read(&format!("identity/entity/id/{entity_id}")).await {
            Ok(entity) => entity,
            Err(VaultError::Denied { .. }) => return Ok(None),
            Err(other) => return Err(other),
        };
        let mut names = Vec::new();
        let ids = entity["group_ids"].as_array().into_iter().flatten();
        for id in ids.filter_map(serde_json::Value::as_str) {
            let name = match self.read(&format!("identity/group/id/{id}")).await {
                Ok(group) => group["name"].as_str().map(str::to_owned),
                Err(VaultError::Denied { .. }) => None,
                Err(other) => return Err(other),
            };
            names.push(name.unwrap_or_else(|| id.to_owned()));
        }
        names.sort();
        Ok(Some(names))
    }
}
