//! One login to Vault, which returns a token.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tracing::Instrument as _;
use vaultrs::api::token::requests::RenewTokenSelfRequest;

use super::VaultError;
use super::http::{Request, Transport};
use super::raw::{Method, data_of};
use crate::centre::VaultSettings;
use crate::secret::Secret;
use crate::spans;

/// Credentials of one login.
#[derive(Clone, Debug)]
pub enum Login {
    AppRole {
        mount: String,
        role_id: Secret<String>,
        secret_id: Secret<String>,
    },
    UserPass {
        mount: String,
        username: String,
        password: Secret<String>,
    },
    /// The answer that the identity provider sent through the browser.
    Oidc {
        mount: String,
        state: Secret<String>,
        code: Secret<String>,
        /// Value that Vault received when it made the browser's address. Without it, the answer
        /// alone gives no token.
        client_nonce: Secret<String>,
    },
    /// Whether the user has confirmed the login on another device; `Pending` until then.
    OidcPoll {
        mount: String,
        state: Secret<String>,
        client_nonce: Secret<String>,
    },
}

impl Login {
    pub fn mount(&self) -> &str {
        match self {
            Self::AppRole { mount, .. }
            | Self::UserPass { mount, .. }
            | Self::Oidc { mount, .. }
            | Self::OidcPoll { mount, .. } => mount,
        }
    }

    fn request(&self) -> Request {
        let path = |rest: &str| format!("auth/{}/{rest}", self.mount());
        match self {
            Self::AppRole {
                role_id, secret_id, ..
            } => Request::new(
                Method::PUT,
                &path("login"),
                Some(&json!({ "role_id": role_id.expose(), "secret_id": secret_id.expose() })),
            ),
            Self::UserPass {
                username, password, ..
            } => Request::new(
                Method::PUT,
                &path(&format!("login/{username}")),
                Some(&json!({ "password": password.expose() })),
            ),
            Self::Oidc {
                state,
                code,
                client_nonce,
                ..
            } => Request::new(Method::GET, &path("oidc/callback"), None)
                .query("state", state)
                .query("code", code)
                .query("client_nonce", client_nonce),
            Self::OidcPoll {
                state,
                client_nonce,
                ..
            } => Request::new(
                Method::PUT,
                &path("oidc/poll"),
                // The related request sends these in the query; this one in the body.
                Some(&json!({ "state": state.expose(), "client_nonce": client_nonce.expose() })),
            ),
        }
    }
}

/// A token from a login.
#[derive(Clone, Debug)]
pub struct Granted {
    pub token: Secret<String>,
    /// Identifies the token without revealing it; may be printed.
    pub accessor: String,
    /// Lifetime given by the server; `None` for a token that never expires.
    pub ttl: Option<Duration>,
    pub renewable: bool,
    /// Policies of the token and of its identity, each once.
    pub policies: Vec<String>,
    pub meta: BTreeMap<String, String>,
}

/// The part of an answer that holds a token. vaultrs' own type prints the token.
#[derive(Deserialize)]
struct Answer {
    auth: Option<Auth>,
}

#[derive(Deserialize)]
struct Auth {
    client_token: Secret<String>,
    #[serde(default)]
    accessor: String,
    #[serde(default)]
    policies: Vec<String>,
    #[serde(default)]
    identity_policies: Option<Vec<String>>,
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

impl From<Auth> for Granted {
    fn from(auth: Auth) -> Self {
        let mut policies = auth.policies;
        policies.extend(auth.identity_policies.unwrap_or_default());
        policies.sort();
        policies.dedup();
        Self {
            token: auth.client_token,
            accessor: auth.accessor,
            ttl: (auth.lease_duration > 0).then(|| Duration::from_secs(auth.lease_duration)),
            renewable: auth.renewable,
            policies,
            meta: auth.metadata.unwrap_or_default(),
        }
    }
}

/// Logs in once. The caller stores, renews and revokes the token.
///
/// # Errors
/// `LoginRefused` when Vault refuses.
pub async fn log_in(settings: &VaultSettings, login: &Login) -> Result<Granted, VaultError> {
    let transport = Transport::new(settings)?;
    let done = log_in_over(&transport, login);
    done.instrument(spans::auth()).await
}

pub(super) async fn log_in_over(
    transport: &Transport,
    login: &Login,
) -> Result<Granted, VaultError> {
    let refused = |message: String| VaultError::LoginRefused {
        mount: login.mount().to_owned(),
        message,
    };
    let request = login.request();
    let answer = match transport.send(None, &request).await {
        Ok(answer) => answer,
        Err(VaultError::Http {
            status: 400..500,
            message,
            ..
        }) => return Err(refused(message)),
        Err(VaultError::Denied { .. }) => return Err(refused("permission denied".to_owned())),
        Err(other) => return Err(other),
    };
    let Answer { auth } = request.read(&answer)?;
    let auth = auth.ok_or_else(|| refused("its answer has no token".to_owned()))?;
    Ok(auth.into())
}

/// Renews a token and returns its new state.
///
/// # Errors
/// `TokenInvalid` when it is no longer valid.
pub async fn renew(
    settings: &VaultSettings,
    token: &Secret<String>,
) -> Result<Granted, VaultError> {
    let transport = Transport::new(settings)?;
    let request = Request::of(&RenewTokenSelfRequest { increment: None });
    let sent = transport.send(Some(token), &request);
    let answer = sent.instrument(spans::auth()).await;
    let answer = answer.map_err(|error| match error {
        VaultError::Denied { .. } => VaultError::TokenInvalid,
        other => other,
    })?;
    let Answer { auth } = request.read(&answer)?;
    auth.map(Granted::from).ok_or(VaultError::TokenInvalid)
}

/// Sends a request that needs no token: seal status, address for a login, key of the CA.
pub async fn ask_openly(
    settings: &VaultSettings,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, VaultError> {
    let request = Request::new(method, path, body);
    let answer = Transport::new(settings)?.send(None, &request).await?;
    data_of(&request, &answer)
}
