//! Who a token is.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use tracing::Instrument as _;
use vaultrs::api::token::requests::LookupTokenSelfRequest;

use super::auth::Session;
use super::http::Request;
use super::{Vault, VaultError};
use crate::phase;

/// What Vault says of the token in use.
#[derive(Clone, Debug)]
pub struct TokenInfo {
    /// The whole one: `oidc-albert`.
    pub display_name: String,
    /// Those of the token and those of its identity, each once.
    pub policies: Vec<String>,
    /// What is left; `None` for one that never expires.
    pub ttl: Option<Duration>,
    pub renewable: bool,
    pub accessor: String,
    /// Where it was got: `auth/approle/login`.
    pub path: String,
    pub meta: BTreeMap<String, String>,
}

impl Vault {
    /// Asks who we are. A round trip: not for what every command does.
    ///
    /// # Errors
    /// `TokenInvalid` when nobody.
    pub async fn lookup_self(&self) -> Result<TokenInfo, VaultError> {
        let session = self.session().await?;
        self.look_up_token(&session).await
    }

    pub(super) async fn look_up_token(&self, session: &Session) -> Result<TokenInfo, VaultError> {
        // Not vaultrs' answer: it takes in the token itself, and prints it.
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
        }
        let request = Request::of(&LookupTokenSelfRequest {});
        let sent = self.0.transport.send(Some(&session.token), &request);
        let body = sent.instrument(phase::auth()).await;
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
        })
    }
}
