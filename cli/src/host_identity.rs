//! What a host is in Vault: an AppRole of its name, and two database roles.

use std::time::Duration;

use serde_json::{Value, json};
use vctl_common::centre::DbRole;
use vctl_common::host::HostName;
use vctl_common::vault::{Vault, VaultError, Wrapped};

const CREATE: &str = include_str!("../../deploy/vault/sql/create-host-login.sql");
const REVOKE_ROW: &str = include_str!("../../deploy/vault/sql/revoke-host-login.sql");
const REVOKE_LOGIN: &str = include_str!("../../deploy/vault/sql/revoke-login.sql");

/// One host's identity, there or not.
pub(crate) struct HostIdentity<'a> {
    vault: &'a Vault,
    approle: String,
    host: &'a HostName,
}

/// What the host needs to log in.
pub(crate) struct Credentials {
    pub(crate) role_id: String,
    /// The secret id, for whoever opens it first.
    pub(crate) wrapped: Wrapped,
}

impl<'a> HostIdentity<'a> {
    /// Returns nothing for a name that begins with `vctl-`: an AppRole of people or jobs may have it.
    pub(crate) fn new(vault: &'a Vault, approle_mount: &str, host: &'a HostName) -> Option<Self> {
        if host.as_str().starts_with("vctl-") {
            return None;
        }
        Some(Self {
            vault,
            approle: format!("auth/{approle_mount}/role/{host}"),
            host,
        })
    }

    pub(crate) async fn exists(&self) -> Result<bool, VaultError> {
        match self.vault.read(&self.approle).await {
            Ok(_) => Ok(true),
            Err(VaultError::NotFound { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Makes it, or sets it as it should be. What was given out of it stays valid.
    pub(crate) async fn make(&self, secret_id_ttl: Duration) -> Result<(), VaultError> {
        for (role, group) in self.database_roles() {
            let body = database_role(self.host, group);
            self.vault.write(&self.path_of(&role), &body).await?;
        }
        // Last: without it nobody can use the others.
        let body = json!({
            "token_policies": ["vctl-host"],
            "token_ttl": "1h",
            "token_max_ttl": "24h",
            "secret_id_ttl": format!("{}s", secret_id_ttl.as_secs()),
        });
        self.vault.write(&self.approle, &body).await?;
        Ok(())
    }

    pub(crate) async fn credentials(&self, wrap_ttl: Duration) -> Result<Credentials, VaultError> {
        let answer = self
            .vault
            .read(&format!("{}/role-id", self.approle))
            .await?;
        let role_id = answer["role_id"].as_str().unwrap_or_default().to_owned();
        let path = format!("{}/secret-id", self.approle);
        let wrapped = self
            .vault
            .write_wrapped(&path, &json!({}), wrap_ttl)
            .await?;
        Ok(Credentials { role_id, wrapped })
    }

    /// Takes it away. When this returns, no login of the host is left.
    pub(crate) async fn unmake(&self) -> Result<(), VaultError> {
        // No more logins to Vault, then no more to Postgres, then an end to those there are: in
        // another order a host that is quick would get one more.
        self.vault.delete(&self.approle).await?;
        for (role, _) in self.database_roles() {
            self.vault.delete(&self.path_of(&role)).await?;
        }
        let mount = &self.vault.settings().database_mount;
        for (role, _) in self.database_roles() {
            // The slash keeps it to this host: `web-1` is the beginning of `web-10`.
            let path = format!(
                "sys/leases/revoke-prefix/{mount}/creds/{}/",
                self.name_of(&role)
            );
            self.vault.write(&path, &json!({"sync": true})).await?;
        }
        Ok(())
    }

    fn database_roles(&self) -> [(DbRole, &'static str); 2] {
        [
            (DbRole::AuditIngest(self.host.clone()), "vctl_audit_ingest"),
            (DbRole::Status(self.host.clone()), "vctl_status"),
        ]
    }

    fn name_of(&self, role: &DbRole) -> String {
        role.vault_role(&self.vault.settings().roles)
    }

    fn path_of(&self, role: &DbRole) -> String {
        let mount = &self.vault.settings().database_mount;
        format!("{mount}/roles/{}", self.name_of(role))
    }
}

/// A name of a host has neither quotes nor backslashes, so it can stand in a literal.
fn database_role(host: &HostName, group: &str) -> Value {
    let create = CREATE
        .replace("GROUP", group)
        .replace("HOST", host.as_str());
    json!({
        "db_name": "vctl",
        "default_ttl": "1h",
        "max_ttl": "4h",
        "creation_statements": [create],
        "revocation_statements": [REVOKE_ROW, REVOKE_LOGIN],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_names_the_host_and_the_group() {
        let host: HostName = "web-1.example_a".parse().unwrap();
        let role = database_role(&host, "vctl_status");
        let create = role["creation_statements"][0].as_str().unwrap();
        assert!(create.contains("in role vctl_status;"), "{create}");
        assert!(
            create.contains("values ('{{name}}', 'web-1.example_a');"),
            "{create}"
        );
        assert!(
            !create.contains("GROUP") && !create.contains("HOST"),
            "{create}"
        );
        // Vault cuts the text at semicolons, also at those in a comment.
        assert_eq!(create.matches(';').count(), 2, "{create}");
    }

    #[test]
    fn nothing_that_could_leave_the_literal_is_a_host() {
        for text in [
            "web'1", "web\"1", "web\\1", "web;1", "web 1", "web$$1", "{{name}}", "web\n1", "wéb",
        ] {
            assert!(text.parse::<HostName>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_approle_of_people_is_not_made_a_host() {
        let settings = vctl_common::centre::VaultSettings::new("https://localhost:1");
        let token = vctl_common::secret::Secret::new("t".to_owned());
        let auth = vctl_common::vault::Auth::Token(token);
        let vault = Vault::connect(&settings, auth).unwrap();
        for name in ["vctl-user", "vctl-enroll", "vctl-x"] {
            let host: HostName = name.parse().unwrap();
            assert!(
                HostIdentity::new(&vault, "approle", &host).is_none(),
                "{name}"
            );
        }
        let host: HostName = "vctl".parse().unwrap();
        assert!(HostIdentity::new(&vault, "approle", &host).is_some());
    }
}
