//! A host certificate, signed by Vault.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use russh::keys::ssh_key::HashAlg;
use russh::keys::{Certificate, PublicKey};
use serde_json::json;
use vctl_common::vault::{Vault, VaultError};

use crate::error::CliError;
use crate::exit_code::Exit;

/// The role of the SSH engine that signs for hosts.
pub(crate) const ROLE: &str = "vctl-host";

/// The host and key to certify.
#[derive(Clone, Debug)]
pub(crate) struct HostCertificateRequest<'a> {
    /// The host's name in the inventory, which becomes the key id.
    pub(crate) host: &'a str,
    pub(crate) key: &'a PublicKey,
    pub(crate) principals: Vec<String>,
    pub(crate) ttl: Duration,
}

/// A signed host certificate.
#[derive(Clone, Debug)]
pub(crate) struct HostCertificate {
    certificate: Certificate,
    pub(crate) key_fingerprint: String,
    pub(crate) ca_fingerprint: String,
    pub(crate) serial: u64,
    pub(crate) principals: Vec<String>,
    pub(crate) valid_before: SystemTime,
}

impl HostCertificate {
    /// Makes the CA at `mount` sign the host's key.
    ///
    /// # Errors
    /// `Permission` if this token may not sign, `Failure` if Vault signed something else.
    pub(crate) async fn issue(
        vault: &Vault,
        mount: &str,
        wish: &HostCertificateRequest<'_>,
    ) -> Result<Self, CliError> {
        let body = json!({
            "public_key": wish.key.to_openssh().unwrap_or_default(),
            "cert_type": "host",
            "valid_principals": wish.principals.join(","),
            "ttl": format!("{}s", wish.ttl.as_secs()),
            "key_id": wish.host,
        });
        let answer = vault.write(&format!("{mount}/sign/{ROLE}"), &body).await;
        let answer = answer.map_err(|error| refused(wish.host, error))?;
        let text = answer["signed_key"].as_str().unwrap_or_default();
        let certificate = Certificate::from_openssh(text.trim()).map_err(|error| {
            CliError::new(Exit::Failure, "Vault's answer is not a certificate").caused_by(&error)
        })?;
        let signed = certificate.valid_principals();
        let all = wish.principals.iter().all(|name| signed.contains(name));
        if !certificate.cert_type().is_host()
            || certificate.public_key() != wish.key.key_data()
            || !all
        {
            let message = format!(
                "Vault signed something other than the key of `{}`",
                wish.host
            );
            return Err(CliError::new(Exit::Failure, message));
        }
        Ok(Self {
            key_fingerprint: wish.key.fingerprint(HashAlg::Sha256).to_string(),
            ca_fingerprint: certificate
                .signature_key()
                .fingerprint(HashAlg::Sha256)
                .to_string(),
            serial: certificate.serial(),
            principals: signed.to_vec(),
            valid_before: UNIX_EPOCH + Duration::from_secs(certificate.valid_before()),
            certificate,
        })
    }

    /// Returns the certificate as a line for a `HostCertificate` file.
    pub(crate) fn line(&self) -> String {
        let text = self.certificate.to_openssh().unwrap_or_default();
        text.trim_end().to_owned()
    }
}

fn refused(host: &str, error: VaultError) -> CliError {
    let (exit, hint) = match &error {
        VaultError::Denied { .. } => (Exit::Permission, "ask for the policy `vctl-admin`"),
        VaultError::Http { status: 400, .. } => (
            Exit::Config,
            "an administrator of Vault must create or correct the role: `vault read MOUNT/roles/vctl-host`",
        ),
        _ => return error.into(),
    };
    CliError::new(
        exit,
        format!("Vault does not sign a host certificate for `{host}`"),
    )
    .caused_by(&error)
    .hint(hint)
}
