//! A new key and its certificate, for one hop of one connection, never written to disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use russh::keys::key::safe_rng;
use russh::keys::{Algorithm, Certificate, HashAlg, PrivateKey};
use serde_json::{Value, json};
use vctl_common::id::CertSerial;
use vctl_common::vault::{Vault, VaultError};

use super::principal::is_for_account;
use super::validity::Validity;
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::ssh_ca;

/// Time before the signature from which Vault makes a certificate valid.
const BACKDATING: Duration = Duration::from_secs(30);

/// Permissions of a certificate in addition to running a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extensions {
    pub(crate) pty: bool,
    pub(crate) port_forwarding: bool,
    pub(crate) agent_forwarding: bool,
}

impl Extensions {
    /// A jump host only has to forward a connection.
    pub(crate) const JUMP: Self = Self {
        pty: false,
        port_forwarding: true,
        agent_forwarding: false,
    };

    fn names(self) -> BTreeMap<&'static str, &'static str> {
        let all = [
            (self.pty, "permit-pty"),
            (self.port_forwarding, "permit-port-forwarding"),
            (self.agent_forwarding, "permit-agent-forwarding"),
        ];
        let asked = all.into_iter().filter(|(asked, _)| *asked);
        asked.map(|(_, name)| (name, "")).collect()
    }
}

/// Source of a role's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RoleSource {
    /// The inventory row of this host.
    Inventory(String),
    /// The setting `ca_role`.
    Setting,
    /// The grant with this scope.
    Grant(String),
}

/// The certificate to request.
#[derive(Clone, Debug)]
pub(crate) struct UserCertificateRequest<'a> {
    /// Mount of the CA in Vault.
    pub(crate) mount: &'a str,
    /// Role of the SSH engine.
    pub(crate) role: &'a str,
    pub(crate) role_from: &'a RoleSource,
    /// Account on the host.
    pub(crate) user: &'a str,
    /// The account, or the account within a scope.
    pub(crate) principal: &'a str,
    /// Lifetime to request; `None` for the lifetime of the role.
    pub(crate) ttl: Option<Duration>,
    pub(crate) extensions: Extensions,
    /// Seconds by which the host's clock was ahead of the database's when its agent last reported.
    pub(crate) host_ahead: Option<i64>,
}

/// A key and the certificate for it.
#[derive(Clone, Debug)]
pub(crate) struct Credential {
    pub(crate) key: Arc<PrivateKey>,
    pub(crate) certificate: Certificate,
    pub(crate) serial: Option<CertSerial>,
    /// As OpenSSH prints it.
    pub(crate) ca_fingerprint: String,
    pub(crate) validity: Validity,
}

impl Credential {
    /// Creates a key and has Vault sign it.
    ///
    /// # Errors
    /// `Permission` if Vault does not sign for this user with this role.
    pub(crate) async fn issue(
        vault: &Vault,
        wish: &UserCertificateRequest<'_>,
    ) -> Result<Self, CliError> {
        let key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519);
        let key = key.map_err(|error| {
            CliError::new(Exit::Failure, "cannot create a key").caused_by(&error)
        })?;
        let mut body = json!({
            "public_key": key.public_key().to_openssh().unwrap_or_default(),
            "valid_principals": wish.principal,
            "cert_type": "user",
            "extensions": wish.extensions.names(),
        });
        if let Some(ttl) = wish.ttl {
            body["ttl"] = json!(format!("{}s", ttl.as_secs()));
        }
        let answer = signed(vault, wish, &body).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Err(refused(vault, wish, error).await),
        };
        let text = answer["signed_key"].as_str().unwrap_or_default();
        let certificate = Certificate::from_openssh(text.trim()).map_err(|error| {
            CliError::new(Exit::Failure, "Vault's answer is not a certificate").caused_by(&error)
        })?;
        let ca = certificate.signature_key().fingerprint(HashAlg::Sha256);
        Ok(Self {
            key: Arc::new(key),
            serial: CertSerial::new(certificate.serial()),
            ca_fingerprint: ca.to_string(),
            validity: validity(&certificate, wish),
            certificate,
        })
    }

    /// Returns a fault of the certificate itself that may be the reason why a host rejects it. sshd does not report the
    /// reason to its client.
    pub(crate) fn fault(&self, user: &str, now: Timestamp) -> Option<String> {
        if let Some(fault) = self.validity.own_fault() {
            return Some(fault);
        }
        let now = u64::try_from(now.as_second()).unwrap_or(0);
        let certificate = &self.certificate;
        if now >= certificate.valid_before() {
            return Some("the certificate has expired by the clock of this machine".to_owned());
        }
        if now < certificate.valid_after() {
            return Some(
                "the certificate is not valid yet by the clock of this machine".to_owned(),
            );
        }
        let principals = certificate.valid_principals();
        if !principals.iter().any(|name| is_for_account(name, user)) {
            let principals = principals.join("`, `");
            return Some(format!("the certificate is for `{principals}`"));
        }
        None
    }
}

fn validity(certificate: &Certificate, wish: &UserCertificateRequest<'_>) -> Validity {
    let seconds = |time| i64::try_from(time).unwrap_or(i64::MAX);
    let (after, before) = (certificate.valid_after(), certificate.valid_before());
    let of_role = || Duration::from_secs(before.saturating_sub(after)).saturating_sub(BACKDATING);
    Validity {
        after: seconds(after),
        before: seconds(before),
        signed: Timestamp::now().as_second(),
        ttl: wish.ttl.unwrap_or_else(of_role),
        host_ahead: wish.host_ahead,
    }
}

/// Has the CA sign. If it was removed meanwhile, the CA that replaced it signs.
async fn signed(
    vault: &Vault,
    wish: &UserCertificateRequest<'_>,
    body: &Value,
) -> Result<Value, VaultError> {
    let sign = async |mount: &str| {
        let path = format!("{mount}/sign/{}", wish.role);
        vault.write(&path, body).await
    };
    let error = match sign(wish.mount).await {
        // Servers report a mount without a CA in different ways.
        Err(
            error @ VaultError::Http {
                status: 400..=500, ..
            },
        ) => error,
        answer => return answer,
    };
    let Ok(authorities) = ssh_ca::published(vault.settings()).await else {
        return Err(error);
    };
    match &authorities[..] {
        [only] if only.mount != wish.mount => sign(&only.mount).await,
        _ => Err(error),
    }
}

/// Policy of users who log in to hosts.
const POLICY: &str = "vctl-ssh";

/// Returns whether the role does not exist. Servers differ in the case of the message, and other engines use 404.
fn is_unknown_role(error: &VaultError) -> bool {
    match error {
        VaultError::NotFound { .. } => true,
        VaultError::Http {
            status: 400,
            message,
            ..
        } => message.to_ascii_lowercase().contains("unknown role"),
        _ => false,
    }
}

async fn has_policy(vault: &Vault) -> bool {
    let info = vault.lookup_self().await;
    info.is_ok_and(|info| info.policies.iter().any(|policy| policy == POLICY))
}

fn no_role(message: String, wish: &UserCertificateRequest<'_>) -> CliError {
    let UserCertificateRequest { mount, .. } = wish;
    let hint = match wish.role_from {
        RoleSource::Inventory(host) => format!(
            "this is the role of `{host}` in the inventory: `vctl edit {host} --ca-role ROLE` changes it, `vault list {mount}/roles` lists the roles"
        ),
        RoleSource::Setting => {
            format!("check `VCTL_CA_ROLE`; `vault list {mount}/roles` lists the roles")
        }
        RoleSource::Grant(scope) => format!(
            "an administrator must add `{scope}`, the scope of your grant, to the scope file and apply it: docs/rbac-scopes.md"
        ),
    };
    CliError::new(Exit::Config, message).hint(hint)
}

async fn refused(vault: &Vault, wish: &UserCertificateRequest<'_>, error: VaultError) -> CliError {
    if let (VaultError::Denied { .. }, RoleSource::Grant(scope)) = (&error, wish.role_from) {
        let UserCertificateRequest { role, user, .. } = wish;
        let message = format!("Vault signs no key for `{user}` within the scope `{scope}`");
        return CliError::new(Exit::Permission, message)
            .caused_by(&error)
            .hint(format!("ask for the policy `{role}`"));
    }
    match &error {
        error if is_unknown_role(error) => {
            let message = format!("Vault has no role `{}` at `{}/`", wish.role, wish.mount);
            return no_role(message, wish);
        }
        // A policy names its roles: Vault gives the same answer for a role that does not exist.
        VaultError::Denied { .. } if has_policy(vault).await => {
            let message = format!(
                "Vault has no role `{}` at `{}/` for the policy `{POLICY}` of this token",
                wish.role, wish.mount
            );
            return no_role(message, wish).caused_by(&error);
        }
        _ => {}
    }
    let (exit, hint) = match &error {
        VaultError::Denied { .. } => (Exit::Permission, "ask for the policy `vctl-ssh`"),
        // Vault reports a request that the role does not allow as a bad request.
        VaultError::Http { status: 400, .. } => (
            Exit::Permission,
            "the role allows only certain users: `vctl list --wide` shows the user and role of each host",
        ),
        _ => return error.into(),
    };
    let UserCertificateRequest { role, user, .. } = wish;
    CliError::new(
        exit,
        format!("Vault signs no key for `{user}` with role `{role}`"),
    )
    .caused_by(&error)
    .hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_has_only_the_requested_extensions() {
        assert!(Extensions::default().names().is_empty());
        let names = |extensions: Extensions| extensions.names().into_keys().collect::<Vec<_>>();
        assert_eq!(names(Extensions::JUMP), ["permit-port-forwarding"]);
        let all = Extensions {
            pty: true,
            port_forwarding: true,
            agent_forwarding: true,
        };
        assert_eq!(names(all).len(), 3);
    }
}
