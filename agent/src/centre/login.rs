//! The address of the centre and the identity of this host there; its login at Vault.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use vctl_common::centre::Settings;
use vctl_common::foreign_file;
use vctl_common::host::HostName;
use vctl_common::secret::Secret;
use vctl_common::vault::secret_id::{SecretIdError, open_wrapped};
use vctl_common::vault::{Auth, SecretIdSource, Vault, VaultError};

/// Address of the centre, and identity of this host there.
#[derive(Clone, Debug)]
pub struct Centre {
    pub settings: Settings,
    /// The name in the inventory.
    pub host: HostName,
    pub approle_mount: String,
    pub role_id_file: PathBuf,
    pub secret_id_file: PathBuf,
}

/// This host cannot log in at Vault.
#[derive(Debug, thiserror::Error)]
pub enum HostLoginError {
    #[error("cannot read the role id in `{}`", path.display())]
    RoleId {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    SecretId(#[from] SecretIdError),
    #[error("cannot set up Vault")]
    Vault(#[from] VaultError),
}

impl HostLoginError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::RoleId { .. } | Self::SecretId(SecretIdError::Read { .. }) => {
                Some("enrol the host: `vctl host enroll HOST`".to_owned())
            }
            Self::SecretId(SecretIdError::Unwrap { source, .. }) | Self::Vault(source) => {
                source.hint()
            }
            Self::SecretId(_) => None,
        }
    }

    /// Returns whether the role id or the secret id is missing or refused.
    pub(crate) fn is_about_credential(&self) -> bool {
        match self {
            Self::RoleId { .. } | Self::SecretId(SecretIdError::Read { .. }) => true,
            Self::SecretId(SecretIdError::Unwrap { source, .. }) | Self::Vault(source) => {
                source.is_about_credential()
            }
            Self::SecretId(_) => false,
        }
    }

    /// Returns the time for which Vault asks clients to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::SecretId(SecretIdError::Unwrap { source, .. }) | Self::Vault(source) => {
                source.retry_after()
            }
            _ => None,
        }
    }
}

impl Centre {
    /// Prepares a login at Vault as this host. Vault reads the secret id at each login, so a new one is used
    /// without a restart.
    ///
    /// # Errors
    /// A credential cannot be read, or Vault does not unwrap the secret id.
    pub async fn vault(&self) -> Result<Vault, HostLoginError> {
        let path = &self.role_id_file;
        let role_id = foreign_file::read_line(path).map_err(|source| HostLoginError::RoleId {
            path: path.clone(),
            source,
        })?;
        open_wrapped(&self.settings.vault, &self.secret_id_file).await?;
        let auth = Auth::AppRole {
            mount: self.approle_mount.clone(),
            role_id: Secret::new(role_id),
            secret_id: SecretIdSource::File(self.secret_id_file.clone()),
        };
        Ok(Vault::connect(&self.settings.vault, auth)?)
    }
}
