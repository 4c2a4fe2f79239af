//! A host's identity in Vault: for each enrolment an AppRole, and two database roles with the same name.

pub(crate) mod agent_config;
mod approles;
mod revoke;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;
use vctl_common::centre::DbRole;
use vctl_common::enrolment::Enrolment;
use vctl_common::host::HostName;
use vctl_common::vault::{Vault, VaultError, Wrapped};

pub(crate) use approles::approles;
pub(crate) use revoke::NotRevoked;

const CREATE: &str = include_str!("../../../../deploy/vault/sql/create-host-login.sql");
const REFUSE: &str = include_str!("../../../../deploy/vault/sql/refuse-host-login.sql");
const REVOKE_ROW: &str = include_str!("../../../../deploy/vault/sql/revoke-host-login.sql");
const REVOKE_LOGIN: &str = include_str!("../../../../deploy/vault/sql/revoke-login.sql");

/// The identity of one host, which may not exist yet.
pub(crate) struct HostIdentity<'a> {
    vault: &'a Vault,
    approle_mount: &'a str,
    host: &'a HostName,
}

/// An enrolment that exists in Vault, at least in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundEnrolment {
    pub(crate) enrolment: Enrolment,
    /// Without the AppRole, an enrolment or a revocation did not finish.
    pub(crate) has_approle: bool,
}

/// The credentials with which the host logs in.
pub(crate) struct Credentials {
    pub(crate) role_id: String,
    /// The wrapped secret id; only the first program that unwraps it gets it.
    pub(crate) wrapped: Wrapped,
}

impl<'a> HostIdentity<'a> {
    /// Returns `None` for a name that starts with `vctl-`: it may be that of an AppRole for users or jobs.
    pub(crate) fn new(
        vault: &'a Vault,
        approle_mount: &'a str,
        host: &'a HostName,
    ) -> Option<Self> {
        if host.as_str().starts_with("vctl-") {
            return None;
        }
        Some(Self {
            vault,
            approle_mount,
            host,
        })
    }

    /// Returns all enrolments of this host, of every generation, complete or not.
    pub(crate) async fn enrolments(&self) -> Result<Vec<FoundEnrolment>, VaultError> {
        let mut candidates: BTreeMap<Enrolment, bool> = BTreeMap::new();
        for role in self.list(&self.role_list()).await? {
            let ends = |prefix: &String| role.strip_prefix(prefix)?.strip_prefix('-');
            let names = &self.vault.settings().roles;
            let approle = [&names.audit_ingest, &names.status]
                .into_iter()
                .find_map(ends);
            if let Some(found) = approle.and_then(|name| Enrolment::of_host(self.host, name)) {
                candidates.insert(found, false);
            }
        }
        for approle in self.list(&self.approle_list()).await? {
            if let Some(found) = Enrolment::of_host(self.host, &approle) {
                candidates.insert(found, true);
            }
        }
        let mut enrolments = Vec::new();
        for (enrolment, has_approle) in candidates {
            if !self.belongs_to_another_host(&enrolment).await? {
                enrolments.push(FoundEnrolment {
                    enrolment,
                    has_approle,
                });
            }
        }
        Ok(enrolments)
    }

    /// Returns a new enrolment. Its generation is random, so no earlier credential can have it.
    pub(crate) fn next(&self) -> Enrolment {
        Enrolment::new(self.host, Uuid::new_v4().as_fields().0)
    }

    /// Creates the enrolment, or corrects its settings. Credentials already issued stay valid.
    pub(crate) async fn create(
        &self,
        enrolment: &Enrolment,
        secret_id_ttl: Duration,
    ) -> Result<(), VaultError> {
        for (role, group) in roles_of(enrolment) {
            let body = database_role(self.host, group);
            self.vault.write(&self.path_of(&role), &body).await?;
        }
        // Last: without the AppRole, the roles cannot be used.
        let body = json!({
            "token_policies": ["vctl-host"],
            "token_ttl": "1h",
            "token_max_ttl": "24h",
            "secret_id_ttl": format!("{}s", secret_id_ttl.as_secs()),
        });
        self.vault.write(&self.approle(enrolment), &body).await?;
        Ok(())
    }

    pub(crate) async fn credentials(
        &self,
        enrolment: &Enrolment,
        wrap_ttl: Duration,
    ) -> Result<Credentials, VaultError> {
        let approle = self.approle(enrolment);
        let answer = self.vault.read(&format!("{approle}/role-id")).await?;
        let role_id = answer["role_id"].as_str().unwrap_or_default().to_owned();
        let path = format!("{approle}/secret-id");
        let wrapped = self
            .vault
            .write_wrapped(&path, &json!({}), wrap_ttl)
            .await?;
        Ok(Credentials { role_id, wrapped })
    }

    /// Returns whether this AppRole belongs to another host, whose whole name looks like a name with a generation: a
    /// host may be called `web-2.deadbeef`. The creation statements name the right host.
    async fn belongs_to_another_host(&self, enrolment: &Enrolment) -> Result<bool, VaultError> {
        if enrolment.approle() == self.host.as_str() {
            return Ok(false);
        }
        let literal = format!("'{enrolment}'");
        for (role, _) in roles_of(enrolment) {
            let role = match self.vault.read(&self.path_of(&role)).await {
                Ok(role) => role,
                Err(VaultError::NotFound { .. }) => continue,
                Err(other) => return Err(other),
            };
            if role["creation_statements"].to_string().contains(&literal) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn list(&self, path: &str) -> Result<Vec<String>, VaultError> {
        let answer = match self.vault.list(path).await {
            Ok(answer) => answer,
            Err(VaultError::NotFound { .. }) => return Ok(Vec::new()),
            Err(VaultError::Denied { .. }) => {
                return Err(VaultError::Denied {
                    what: format!("list of `{path}`"),
                    policy: Some("vctl-enroll".to_owned()),
                    settings: Vec::new(),
                });
            }
            Err(other) => return Err(other),
        };
        let keys = answer["keys"].as_array().map(Vec::as_slice);
        let names = keys.unwrap_or_default().iter().filter_map(Value::as_str);
        Ok(names.map(str::to_owned).collect())
    }

    fn approle_list(&self) -> String {
        format!("auth/{}/role", self.approle_mount)
    }

    fn role_list(&self) -> String {
        format!("{}/roles", self.vault.settings().database_mount)
    }

    fn approle(&self, enrolment: &Enrolment) -> String {
        format!("{}/{enrolment}", self.approle_list())
    }

    fn name_of(&self, role: &DbRole) -> String {
        role.vault_role(&self.vault.settings().roles)
    }

    fn path_of(&self, role: &DbRole) -> String {
        format!("{}/{}", self.role_list(), self.name_of(role))
    }
}

fn roles_of(enrolment: &Enrolment) -> [(DbRole, &'static str); 2] {
    [
        (DbRole::AuditIngest(enrolment.clone()), "vctl_audit_ingest"),
        (DbRole::Status(enrolment.clone()), "vctl_status"),
    ]
}

fn database_role(host: &HostName, group: &str) -> Value {
    role_with(&CREATE.replace("GROUP", group), host)
}

/// Returns a database role. A host name contains neither quotes nor backslashes, so it is safe in an SQL literal.
fn role_with(create: &str, host: &HostName) -> Value {
    let create = create.replace("HOST", host.as_str());
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
    fn statement_names_the_host_and_the_group() {
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
        // Vault sends a text in this form unchanged. It splits other texts at semicolons.
        let text = create.trim();
        assert!(
            text.starts_with("do $$") && text.ends_with("END\n$$"),
            "{create}"
        );
    }

    #[test]
    fn name_that_could_leave_the_literal_is_rejected() {
        for text in [
            "web'1", "web\"1", "web\\1", "web;1", "web 1", "web$$1", "{{name}}", "web\n1", "wéb",
        ] {
            assert!(text.parse::<HostName>().is_err(), "{text}");
        }
    }

    #[test]
    fn approle_of_users_cannot_become_a_host() {
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
