//! Revocation of an enrolment: all its credentials become invalid.

use serde_json::json;
use vctl_common::enrolment::Enrolment;
use vctl_common::vault::VaultError;

use super::{HostIdentity, REFUSE, role_with, roles_of};

/// A part of an enrolment that may still work.
#[derive(Debug)]
pub(crate) struct NotRevoked {
    /// `AppRole `web-2.1f2e3d4c``
    pub(crate) part: String,
    pub(crate) error: VaultError,
}

impl HostIdentity<'_> {
    /// Revokes an enrolment. Returns the parts that could not be revoked; a failure does not stop the others.
    ///
    /// Deleting the AppRole invalidates its secret ids, wrapped ones too; its tokens lose their roles. Deleting the
    /// database logins ends their connections.
    pub(crate) async fn revoke(&self, enrolment: &Enrolment) -> Vec<NotRevoked> {
        let mut left = Vec::new();
        let mut try_to = |part: String, done: Result<(), VaultError>| match done {
            Ok(()) | Err(VaultError::NotFound { .. }) => true,
            Err(error) => {
                left.push(NotRevoked { part, error });
                false
            }
        };
        // First logins to Vault are stopped, then new logins to Postgres, then the existing ones are ended. In another
        // order the host could get one more login in between.
        let approle = self.vault.delete(&self.approle(enrolment)).await;
        try_to(format!("AppRole `{enrolment}`"), approle);
        let mut refusing = Vec::new();
        for (role, _) in roles_of(enrolment) {
            let name = self.name_of(&role);
            // The role is deleted last: while it has logins, a retry finds them through it.
            if try_to(
                format!("database role `{name}`"),
                self.disable_role(&name).await,
            ) {
                refusing.push(name);
            }
        }
        for name in refusing {
            let ended = self.end_logins(&name).await;
            if try_to(format!("logins of database role `{name}`"), ended) {
                let path = format!("{}/{name}", self.role_list());
                let deleted = self.vault.delete(&path).await;
                try_to(format!("database role `{name}`"), deleted);
            }
        }
        left
    }

    /// Makes an existing database role issue no more logins.
    async fn disable_role(&self, name: &str) -> Result<(), VaultError> {
        let path = format!("{}/{name}", self.role_list());
        self.vault.read(&path).await?;
        let refusing = role_with(REFUSE, self.host);
        self.vault.write(&path, &refusing).await.map(drop)
    }

    /// Ends every login of a database role. When this returns, Postgres has none left.
    async fn end_logins(&self, name: &str) -> Result<(), VaultError> {
        let mount = &self.vault.settings().database_mount;
        // With the slash, `web-1` does not match `web-10`.
        let path = format!("sys/leases/revoke-prefix/{mount}/creds/{name}/");
        let body = json!({"sync": true});
        self.vault.write(&path, &body).await.map(drop)
    }
}
