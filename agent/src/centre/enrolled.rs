//! Asks Vault for the enrolment of this host's role id.

use vctl_common::enrolment::Enrolment;
use vctl_common::host::HostName;
use vctl_common::vault::{Vault, VaultError};

/// Vault did not return an enrolment of this host.
#[derive(Debug, thiserror::Error)]
pub enum EnrolledError {
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("the role id belongs to AppRole `{approle}`, not to host `{host}` (key `host`)")]
    OtherHost { approle: String, host: HostName },
}

impl EnrolledError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Vault(error) => error.hint(),
            Self::OtherHost { host, .. } => Some(format!(
                "restore the role id of this host, or run `vctl host enroll {host}`; if the host was renamed, set `host` to its new name"
            )),
        }
    }
}

/// Logs in if needed, and returns the enrolment of the login's AppRole.
///
/// An unusable token is revoked, since otherwise each attempt would leave one behind.
///
/// # Errors
/// `OtherHost` when the AppRole belongs to another host: the records would be stored under that
/// host's name.
pub async fn enrolment(vault: &Vault, host: &HostName) -> Result<Enrolment, EnrolledError> {
    let found = look_up(vault, host).await;
    if found.is_err() {
        let _ = vault.revoke_self().await;
    }
    found
}

async fn look_up(vault: &Vault, host: &HostName) -> Result<Enrolment, EnrolledError> {
    let info = vault.lookup_self().await?;
    match info.meta.get("role_name") {
        Some(approle) => {
            Enrolment::of_host(host, approle).ok_or_else(|| EnrolledError::OtherHost {
                approle: approle.clone(),
                host: host.clone(),
            })
        }
        None => Ok(Enrolment::without_generation(host)),
    }
}
