//! The tokens of a user. Vault has no list of tokens by entity, so each accessor is looked up once.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use vctl_common::vault::{Vault, VaultError};

use super::user::with_policy;

/// Requests at a time. Vault answers several thousand a second, and other clients send requests too.
const AT_ONCE: usize = 16;

/// The tokens of one entity, and how much of the list was read.
#[derive(Debug, Default)]
pub(crate) struct UserTokens {
    /// Accessors of the tokens that are left.
    pub(crate) accessors: BTreeSet<String>,
    /// Their display names.
    pub(crate) names: BTreeSet<String>,
    /// Accessors of other tokens: a second scan leaves them out.
    others: BTreeSet<String>,
    /// Tokens that exist and could not be looked up.
    pub(crate) unread: usize,
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
    /// Looks up the tokens that earlier scans have not seen.
    ///
    /// # Errors
    /// Vault refuses the list of accessors.
    pub(crate) async fn scan(&mut self, vault: &Vault, entity: &str) -> Result<(), VaultError> {
        let listed = accessors(vault).await?;
        self.accessors.retain(|accessor| listed.contains(accessor));
        let new = listed.into_iter();
        let new = new.filter(|one| !self.accessors.contains(one) && !self.others.contains(one));
        let mut failed = BTreeSet::new();
        let lookups = each(vault, "auth/token/lookup-accessor", new.collect()).await;
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
                Err(_) => {
                    failed.insert(accessor);
                }
            }
        }
        // Most of them expired between list and look-up.
        self.unread = if failed.is_empty() {
            0
        } else {
            let still = accessors(vault).await?;
            failed.intersection(&still).count()
        };
        Ok(())
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
