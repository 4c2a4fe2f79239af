//! The tokens of a user. Vault has no list of tokens by entity, so each accessor is looked up once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;
use vctl_common::vault::{Vault, VaultError};

use super::user::with_policy;

/// Requests at a time. Vault answers several thousand a second, and other clients send requests too.
const AT_ONCE: usize = 16;

/// Time between the list of accessors and their look-up. A look-up of a token that Vault is still creating makes Vault end
/// this token, because it has no lease yet, and leaves its accessor in the list.
const CREATION: Duration = Duration::from_secs(1);

const LOOKUP: &str = "auth/token/lookup-accessor";

/// The tokens of one entity, and how much of the list was read.
#[derive(Debug)]
pub(crate) struct UserTokens {
    /// Accessor of this client's own token.
    own: String,
    /// Accessors of the tokens that are left.
    pub(crate) accessors: BTreeSet<String>,
    /// Their display names.
    pub(crate) names: BTreeSet<String>,
    /// Accessors of other tokens: a second scan leaves them out.
    others: BTreeSet<String>,
    /// Errors of the tokens that exist and could not be looked up.
    pub(crate) unread: Vec<VaultError>,
}

/// The result of revoking tokens.
#[derive(Debug, Default)]
pub(crate) struct Revoked {
    pub(crate) count: usize,
    /// Tokens that Vault still lists.
    pub(crate) left: usize,
    pub(crate) problem: Option<VaultError>,
}

impl UserTokens {
    pub(crate) fn new(own: String) -> Self {
        Self {
            own,
            accessors: BTreeSet::new(),
            names: BTreeSet::new(),
            others: BTreeSet::new(),
            unread: Vec::new(),
        }
    }

    /// Looks up the tokens that earlier scans have not seen.
    ///
    /// # Errors
    /// Vault refuses the list of accessors.
    pub(crate) async fn scan(&mut self, vault: &Vault, entity: &str) -> Result<(), VaultError> {
        let listed = accessors(vault).await?;
        self.accessors.retain(|accessor| listed.contains(accessor));
        let new = listed.into_iter();
        let new = new.filter(|one| !self.accessors.contains(one) && !self.others.contains(one));
        let new: Vec<String> = new.collect();
        if !new.is_empty() {
            sleep(CREATION).await;
        }
        let mut failed = BTreeMap::new();
        let lookups = each(vault, LOOKUP, new).await;
        for (accessor, looked_up) in lookups {
            match looked_up {
                Ok(token) if token["entity_id"] == entity => {
                    let name = token["display_name"].as_str().unwrap_or_default();
                    self.names.insert(name.to_owned());
                    self.accessors.insert(accessor);
                }
                Ok(_) => {
                    self.others.insert(accessor);
                }
                Err(error) => {
                    failed.insert(accessor, error);
                }
            }
        }
        // Most of them expired between list and look-up.
        if !failed.is_empty() {
            let still = accessors(vault).await?;
            failed.retain(|accessor, _| still.contains(accessor));
        }
        // Until `auth/token/tidy`, Vault lists some tokens that have ended. It refuses to show them, as it refuses every
        // token to a client without the right.
        if failed.values().any(is_refusal) && self.may_look_up(vault).await? {
            failed.retain(|_, error| !is_refusal(error));
        }
        self.unread = failed.into_values().collect();
        Ok(())
    }

    /// Returns whether Vault shows this client a token that exists: its own.
    async fn may_look_up(&self, vault: &Vault) -> Result<bool, VaultError> {
        match vault.write(LOOKUP, &json!({"accessor": self.own})).await {
            Ok(_) => Ok(true),
            Err(error) if is_refusal(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Revokes the tokens, with their children and leases, and asks Vault which are left.
    ///
    /// # Errors
    /// Vault refuses the list of accessors afterwards: the result is not known.
    pub(crate) async fn revoke(&mut self, vault: &Vault) -> Result<Revoked, VaultError> {
        let accessors_before = std::mem::take(&mut self.accessors);
        let mut result = Revoked::default();
        let all = accessors_before.iter().cloned().collect();
        for (_, revoked) in each(vault, "auth/token/revoke-accessor", all).await {
            if let Err(error) = revoked {
                result.problem = Some(with_policy(error));
            }
        }
        let still = accessors(vault).await?;
        let left = accessors_before.intersection(&still);
        self.accessors = left.cloned().collect();
        result.left = self.accessors.len();
        result.count = accessors_before.len() - result.left;
        Ok(result)
    }
}

fn is_refusal(error: &VaultError) -> bool {
    matches!(error, VaultError::Denied { .. })
}

async fn accessors(vault: &Vault) -> Result<BTreeSet<String>, VaultError> {
    let answer = vault.list("auth/token/accessors").await;
    let answer = answer.map_err(with_policy)?;
    let keys = answer["keys"].as_array().map(Vec::as_slice);
    let keys = keys.unwrap_or_default().iter().filter_map(Value::as_str);
    Ok(keys.map(str::to_owned).collect())
}

/// Sends one request for each accessor, several at a time.
async fn each(
    vault: &Vault,
    path: &'static str,
    accessors: Vec<String>,
) -> Vec<(String, Result<Value, VaultError>)> {
    let mut done = Vec::new();
    let mut running = JoinSet::new();
    for accessor in accessors {
        if running.len() >= AT_ONCE
            && let Some(Ok(one)) = running.join_next().await
        {
            done.push(one);
        }
        let vault = vault.clone();
        running.spawn(async move {
            let answer = vault.write(path, &json!({"accessor": accessor})).await;
            (accessor, answer)
        });
    }
    done.extend(running.join_all().await);
    done
}
