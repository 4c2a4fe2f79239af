//! Identities in this centre: tokens with policies, hosts, and their database logins.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::configure::repository;
use super::{Centre, Client, DATABASE, Login, Secret};

/// Key generation of every host that a spec enrols without `vctl host enroll`.
const GENERATION: &str = "5bec0001";

/// An enrolled host.
#[derive(Clone)]
pub struct HostIdentity {
    pub name: String,
    /// Name of the AppRole of the host. The names of its database roles end in it.
    pub approle: String,
    pub role_id: Secret,
    pub secret_id: Secret,
}

impl HostIdentity {
    /// Returns the database role of the host for `audit-ingest` or `status`.
    pub fn role(&self, purpose: &str) -> String {
        format!("vctl-{purpose}-{}", self.approle)
    }
}

/// A database login that Vault created.
#[derive(Clone)]
pub struct Credential {
    pub username: String,
    pub password: Secret,
    pub lease_id: String,
}

impl Centre {
    /// Returns a client whose token has these policies and, like every token, `default`.
    pub fn with_policies(&self, policies: &[&str]) -> Result<Client> {
        let admin = self.bao.admin()?;
        let made = admin.post("auth/token/create", &json!({"policies": policies}))?;
        Ok(admin.with_token(text(&made["auth"]["client_token"])?))
    }

    /// Returns a client of a person who logged in with name and password.
    ///
    /// Vault calls this person `userpass-<name>`.
    pub fn person(&self, name: &str, policies: &[&str]) -> Result<Client> {
        let admin = self.bao.admin()?;
        let password = Secret::random()?;
        let user = json!({"password": password.expose(), "policies": policies});
        admin.post(&format!("auth/userpass/users/{name}"), &user)?;
        let login = format!("auth/userpass/login/{name}");
        let anonymous = self.bao.anonymous()?;
        let made = anonymous.post(&login, &json!({"password": password.expose()}))?;
        Ok(anonymous.with_token(text(&made["auth"]["client_token"])?))
    }

    /// Creates the identity of a host, as `vctl host enroll` does, and adds the host to the inventory.
    pub fn enroll(&self, host: &str) -> Result<HostIdentity> {
        self.enroll_as(host, "vctl-host")
    }

    /// Does the same as `enroll`, with the policy of a host that has only a part of the rights.
    pub fn enroll_as(&self, host: &str, policy: &str) -> Result<HostIdentity> {
        self.enroll_with(host, &format!("{host}.{GENERATION}"), policy)
    }

    /// Does the same as `enroll`, in the way of a vctl version without key generations.
    pub fn enroll_without_generation(&self, host: &str) -> Result<HostIdentity> {
        self.enroll_with(host, host, "vctl-host")
    }

    fn enroll_with(&self, host: &str, approle: &str, policy: &str) -> Result<HostIdentity> {
        let admin = self.bao.admin()?;
        for (purpose, group) in [
            ("audit-ingest", "vctl_audit_ingest"),
            ("status", "vctl_status"),
        ] {
            let create = sql("create-host-login")?
                .replace("GROUP", group)
                .replace("HOST", host);
            let revoke = [sql("revoke-host-login")?, sql("revoke-login")?];
            let role = json!({
                "db_name": "vctl",
                "default_ttl": "1h",
                "max_ttl": "4h",
                "creation_statements": [create],
                "revocation_statements": revoke,
            });
            admin.post(&format!("database/roles/vctl-{purpose}-{approle}"), &role)?;
        }
        let role = json!({
            "token_policies": [policy],
            "token_ttl": "1h",
            "token_max_ttl": "24h",
            "secret_id_ttl": "720h",
        });
        let [role_id, secret_id] = self.approle(approle, &role)?;
        let insert = format!(
            "insert into vctl.servers (hostname, ip) values ('{host}', '127.0.0.1') on conflict do nothing"
        );
        self.postgres.psql(DATABASE, &insert)?;
        Ok(HostIdentity {
            name: host.to_owned(),
            approle: approle.to_owned(),
            role_id,
            secret_id,
        })
    }

    /// Creates an AppRole of a machine that uses vctl, and returns its role id and a secret id.
    pub fn machine_login(&self, name: &str, ttl_s: u64, max_ttl_s: u64) -> Result<[Secret; 2]> {
        let role = json!({
            "token_policies": ["vctl-user"],
            "token_ttl": format!("{ttl_s}s"),
            "token_max_ttl": format!("{max_ttl_s}s"),
        });
        self.approle(name, &role)
    }

    fn approle(&self, name: &str, role: &Value) -> Result<[Secret; 2]> {
        let admin = self.bao.admin()?;
        let path = format!("auth/approle/role/{name}");
        admin.post(&path, role)?;
        let role_id = admin.get(&format!("{path}/role-id"))?;
        let secret_id = admin.post(&format!("{path}/secret-id"), &json!({}))?;
        Ok([
            text(&role_id["data"]["role_id"])?,
            text(&secret_id["data"]["secret_id"])?,
        ])
    }

    /// Returns a client that logged in as this host.
    pub fn as_host(&self, host: &HostIdentity) -> Result<Client> {
        let anonymous = self.bao.anonymous()?;
        let ids = json!({"role_id": host.role_id.expose(), "secret_id": host.secret_id.expose()});
        let made = anonymous.post("auth/approle/login", &ids)?;
        Ok(anonymous.with_token(text(&made["auth"]["client_token"])?))
    }
}

impl Client {
    /// Asks for a database login of that role.
    pub fn credential(&self, role: &str) -> Result<Credential> {
        let lease = self.get(&format!("database/creds/{role}"))?;
        Ok(Credential {
            username: text(&lease["data"]["username"])?.expose().to_owned(),
            password: text(&lease["data"]["password"])?,
            lease_id: text(&lease["lease_id"])?.expose().to_owned(),
        })
    }

    /// Revokes a database login, and returns when it is gone.
    pub fn revoke(&self, credential: &Credential) -> Result<()> {
        let path = format!("sys/leases/revoke/{}", credential.lease_id);
        self.post(&path, &json!({"sync": true}))?;
        Ok(())
    }
}

impl Credential {
    pub fn login(&self) -> Login<'_> {
        Login {
            database: DATABASE,
            user: &self.username,
            password: &self.password,
        }
    }
}

fn sql(name: &str) -> Result<String> {
    let path = repository().join(format!("deploy/vault/sql/{name}.sql"));
    std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))
}

fn text(value: &Value) -> Result<Secret> {
    value
        .as_str()
        .map(Secret::new)
        .context("the answer does not have the requested fields")
}
