//! The scopes of grants, whose roles must exist at the mount of a new SSH CA.

use std::collections::BTreeSet;
use std::time::Duration;

use vctl_common::pg::Client;
use vctl_common::vault::Vault;

use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::rbac::scope::{Grant, Scope};
use crate::rbac::{scope_roles, store};

/// The scopes of all grants.
pub(super) struct GrantedScopes(BTreeSet<Scope>);

impl GrantedScopes {
    pub(super) async fn read(client: &Client) -> Result<Self, Stop> {
        let groups = store::groups(client).await?;
        let grants = groups.iter().flat_map(|group| &group.grants);
        let scopes = grants.filter_map(|grant| Some(grant.parse::<Grant>().ok()?.scope));
        Ok(Self(
            scopes.filter(|scope| !scope.is_everything()).collect(),
        ))
    }

    /// Checks that the mount has the role of each scope that has one at the active mount: without it, users with only
    /// this scope could not log in any more. A scope without a role at the active mount loses nothing.
    ///
    /// # Errors
    /// Names the first role that is missing or different.
    pub(super) async fn require_at(
        &self,
        vault: &Vault,
        mount: &str,
        active: &str,
    ) -> Result<(), CliError> {
        for scope in &self.0 {
            if !scope_roles::exists_at(vault, active, scope).await? {
                continue;
            }
            if let Err(mut error) = scope_roles::require_at(vault, mount, scope).await {
                error.causes.insert(0, error.message);
                error.message =
                    format!("an SSH CA at `{mount}/` could not take over; nothing was changed");
                if error.exit == Exit::Config {
                    error.hint = Some(format!(
                        "add `{scope}` to the scope file and apply it (docs/rbac-scopes.md), or revoke its grants: \
                         `vctl rbac group list` shows them"
                    ));
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Returns the longest lifetime of certificates within these scopes.
    pub(super) async fn longest_lifetime(&self, vault: &Vault) -> Result<Duration, CliError> {
        let mut longest = Duration::ZERO;
        for scope in &self.0 {
            longest = longest.max(scope_roles::lifetime(vault, scope).await?);
        }
        Ok(longest)
    }
}
