//! The end of an enrolment: nothing that was given out of it works any more.

use serde_json::json;
use vctl_common::enrolment::Enrolment;
use vctl_common::vault::VaultError;

use super::{HostIdentity, REFUSE, role_with, roles_of};

/// A part of an enrolment that may still work.
#[derive(Debug)]
pub(crate) struct NotEnded {
    /// `AppRole `web-2.1f2e3d4c``
    pub(crate) part: String,
    pub(crate) error: VaultError,
}

impl HostIdentity<'_> {
    /// Ends an enrolment, and returns the parts that could not be ended. A part that fails does not keep
    /// the others.
    ///
    /// With the AppRole go its secret ids, wrapped ones too; its tokens lead to roles that are gone. With
    /// the logins go their connections.
    pub(crate) async fn unmake(&self, enrolment: &Enrolment) -> Vec<NotEnded> {
        let mut left = Vec::new();
        let mut try_to = |part: String, done: Result<(), VaultError>| match done {
            Ok(()) | Err(VaultError::NotFound { .. }) => true,
            Err(error) => {
                left.push(NotEnded { part, error });
                false
            }
        };
        // No more logins to Vault, then no more to Postgres, then an end to those there are: in
        // another order a host that is quick would get one more.
        let approle = self.vault.delete(&self.approle(enrolment)).await;
        try_to(format!("AppRole `{enrolment}`"), approle);
        let mut refusing = Vec::new();
        for (role, _) in roles_of(enrolment) {
            let name = self.name_of(&role);
            // Not deleted yet: while there are logins, the role is how the next try finds them.
            if try_to(format!("database role `{name}`"), self.refuse(&name).await) {
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

    /// Has a database role give out nothing, where it is there.
    async fn refuse(&self, name: &str) -> Result<(), VaultError> {
        let path = format!("{}/{name}", self.role_list());
        self.vault.read(&path).await?;
        let refusing = role_with(REFUSE, self.host);
        self.vault.write(&path, &refusing).await.map(drop)
    }

    /// Ends every login of a database role. When this returns, Postgres has none of them.
    async fn end_logins(&self, name: &str) -> Result<(), VaultError> {
        let mount = &self.vault.settings().database_mount;
        // The slash keeps it to this role: `web-1` is the beginning of `web-10`.
        let path = format!("sys/leases/revoke-prefix/{mount}/creds/{name}/");
        let body = json!({"sync": true});
        self.vault.write(&path, &body).await.map(drop)
    }
}
