//! The enrolment that this host's role id is of, by Vault's word.

use vctl_common::enrolment::Enrolment;
use vctl_common::host::HostName;
use vctl_common::vault::{Vault, VaultError};

/// Vault did not name an enrolment of this host.
#[derive(Debug, thiserror::Error)]
pub enum EnrolledError {
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(
        "the role id is the one of AppRole `{approle}`, which is not of host `{host}` (key `host`)"
    )]
    OtherHost { approle: String, host: HostName },
}

impl EnrolledError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Vault(error) => error.hint(),
            Self::OtherHost { host, .. } => Some(format!(
                "put back the role id that belongs to this host, or run `vctl host enroll {host}`"
            )),
        }
    }
}

/// Logs in when that is due, and returns the enrolment of the login's AppRole.
///
/// A token is given back when it is of no use here, since each attempt would leave one behind.
///
/// # Errors
/// `OtherHost` when the AppRole belongs to another host: its name would stand over what is shipped.
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
