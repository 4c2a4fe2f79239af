//! Database credentials that Vault creates and revokes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tracing::Instrument as _;
use vaultrs::api::EndpointResult;
use vaultrs::api::database::requests::GenerateCredentialsRequest;
use vaultrs::api::database::responses::GenerateCredentialsResponse;

use super::auth::Session;
use super::http::Request;
use super::{Method, Vault, VaultError};
use crate::centre::{DbRole, RoleNames, VaultSettings};
use crate::secret::Secret;
use crate::spans;

/// A temporary database login.
#[derive(Debug)]
pub struct Lease {
    pub username: String,
    pub password: Secret<String>,
    pub lease_id: String,
    /// Counted from its creation.
    pub ttl: Duration,
    made: Instant,
    /// Age at `made`, for a login of another process.
    age_before: Duration,
    /// Vault also revokes the login when the token that made it ends.
    session: Arc<Session>,
}

impl Lease {
    pub fn age(&self) -> Duration {
        self.age_before + self.made.elapsed()
    }

    /// Returns whether this token made the login, and not one of a later login to Vault.
    pub fn is_of_token(&self, token: &Secret<String>) -> bool {
        self.session.token.expose() == token.expose()
    }
}

/// A login that another process of this user created with the current token.
#[derive(Debug)]
pub struct StoredLease {
    pub username: String,
    pub password: Secret<String>,
    pub lease_id: String,
    pub ttl: Duration,
    pub age: Duration,
}

impl Vault {
    /// Creates a database login for `role`.
    ///
    /// # Errors
    /// `Denied` names the missing policy.
    pub async fn db_credentials(&self, role: &DbRole) -> Result<Lease, VaultError> {
        let request = Request::of(&GenerateCredentialsRequest {
            mount: self.settings().database_mount.clone(),
            name: role.vault_role(&self.settings().roles),
        });
        // Taken before the request: the lease must not end earlier than expected.
        let made = Instant::now();
        let answer = self.call(&request).instrument(spans::credential()).await;
        let (answer, session) = answer.map_err(|error| naming(error, role, self.settings()))?;
        let answer: EndpointResult<GenerateCredentialsResponse> = request.read(&answer)?;
        let login = answer.data.ok_or_else(|| VaultError::NotFound {
            what: format!("credential for database role `{role}`"),
        })?;
        Ok(Lease {
            username: login.username,
            password: Secret::new(login.password),
            lease_id: answer.lease_id,
            ttl: Duration::from_secs(answer.lease_duration.into()),
            made,
            age_before: Duration::ZERO,
            session,
        })
    }

    /// Returns the lease of a login that another process created with the current token. Sends no request while
    /// the token is valid.
    pub async fn adopt_lease(&self, stored: StoredLease) -> Result<Lease, VaultError> {
        Ok(Lease {
            username: stored.username,
            password: stored.password,
            lease_id: stored.lease_id,
            ttl: stored.ttl,
            made: Instant::now(),
            age_before: stored.age,
            session: self.session().await?,
        })
    }

    /// Returns whether `lease` was made with the current token. A lease of an earlier token ends
    /// with that token, whatever its own time to live.
    pub async fn is_of_current_token(&self, lease: &Lease) -> bool {
        self.is_current(&lease.session).await
    }

    /// Revokes a login. Vault does so in the background, and repeats it until it succeeds.
    ///
    /// The lease is part of the path, so a policy can grant `update` on
    /// `sys/leases/revoke/database/creds/<role>/*` alone.
    pub async fn revoke_lease(&self, lease_id: &str) -> Result<(), VaultError> {
        let path = format!("sys/leases/revoke/{lease_id}");
        let request = Request::new(Method::PUT, &path, Some(&json!({ "sync": false })));
        let told = self.call(&request).instrument(spans::credential());
        told.await.map(drop)
    }
}

/// Setting of the database engine's mount.
const DATABASE_MOUNT: &str = "VCTL_DATABASE_MOUNT";

fn naming(error: VaultError, role: &DbRole, vault: &VaultSettings) -> VaultError {
    let name = role.vault_role(&vault.roles);
    let is_usual_role = name == role.vault_role(&RoleNames::default());
    let is_usual_mount = vault.database_mount == VaultSettings::new("").database_mount;
    let settings = [
        (DATABASE_MOUNT, is_usual_mount),
        (role.setting(), is_usual_role),
    ];
    match error {
        VaultError::Denied { .. } => VaultError::Denied {
            what: format!("credential for database role `{name}`"),
            policy: Some(role.policy()),
            settings: settings
                .into_iter()
                .filter_map(|(setting, is_usual)| (!is_usual).then_some(setting))
                .collect(),
        },
        VaultError::NotFound { .. } if role.is_of_a_host() && is_usual_mount => {
            VaultError::NoRole {
                mount: vault.database_mount.clone(),
                role: name,
                settings: Vec::new(),
            }
        }
        VaultError::NotFound { .. } => VaultError::NoRole {
            mount: vault.database_mount.clone(),
            role: name,
            settings: vec![role.setting(), DATABASE_MOUNT],
        },
        other => other,
    }
}
