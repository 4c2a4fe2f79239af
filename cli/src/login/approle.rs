//! Login by AppRole, for machines and unattended jobs.

use std::path::{Path, PathBuf};

use vctl_common::centre::VaultSettings;
use vctl_common::secret::Secret;
use vctl_common::vault::secret_id::{SecretIdError, is_wrapped, open_wrapped};
use vctl_common::vault::{self, Auth, Granted, Login, SecretIdSource, Vault, VaultError};

use super::denied::{self, LoginPath};
use crate::config::Config;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::files::state_dir::StateDir;
use crate::ui::notice;

/// Names of the files that `--register` writes.
pub(super) const ROLE_ID: &str = "role-id";
pub(super) const SECRET_ID: &str = "secret-id";

/// Hint for a wrapping token that was already used.
const STOLEN: &str =
    "get a new secret id; if you have not unwrapped this one yourself, it may have been stolen";

/// Role id and secret id, each as a value or a file.
#[derive(Clone, Debug)]
pub(crate) struct AppRoleIds {
    role_id: Id,
    secret_id: Id,
}

#[derive(Clone, Debug)]
enum Id {
    Value(Secret<String>),
    File(PathBuf),
}

/// Logs in, and explains a refusal.
pub(super) async fn log_in(
    vault: &VaultSettings,
    config: &Config,
    login: &Login,
) -> Result<Granted, Stop> {
    let error = match vault::log_in(vault, login).await {
        Err(error @ VaultError::LoginRefused { .. }) => error,
        granted => return granted.map_err(Stop::from),
    };
    if !matches!(&error, VaultError::LoginRefused { message, .. } if denied::is_denied(message)) {
        let hint =
            "the secret id has expired, was used up, or belongs to another role: get a new one";
        let refused = CliError::new(Exit::Permission, error.to_string());
        return Err(refused.hint(hint).into());
    }
    let login = LoginPath {
        path: format!("auth/{}/login", config.approle_mount),
        setting: "VCTL_APPROLE_MOUNT",
        method: "AppRole",
    };
    let what = "Vault refuses the login by AppRole: permission denied".to_owned();
    Err(denied::explained(vault, login, what).await.into())
}

impl AppRoleIds {
    /// Finds both ids; `None` if one is missing. A value takes precedence over a named file, and a named file
    /// over the state directory.
    pub(crate) fn find(config: &Config, state: &StateDir) -> Option<Self> {
        let found = |value: &Option<Secret<String>>, file: &Option<PathBuf>, kept: &str| {
            if let Some(value) = value {
                return Some(Id::Value(value.clone()));
            }
            // A named file that is missing is used too, so that the error names it.
            if let Some(file) = file {
                return Some(Id::File(file.clone()));
            }
            let kept = state.file(kept);
            kept.exists().then_some(Id::File(kept))
        };
        Some(Self {
            role_id: found(&config.role_id, &config.role_id_file, ROLE_ID)?,
            secret_id: found(&config.secret_id, &config.secret_id_file, SECRET_ID)?,
        })
    }

    /// Returns the credentials for repeated logins beside a valid token; `None` if they cannot be had now. A wrapped value
    /// is not opened: Vault opens it once, for the login that got the token.
    pub(crate) async fn auth(&self, settings: &VaultSettings, mount: &str) -> Option<Auth> {
        Some(Auth::AppRole {
            mount: mount.to_owned(),
            role_id: self.role_id.read().ok()?,
            secret_id: match &self.secret_id {
                Id::Value(value) if is_wrapped(value) => return None,
                Id::Value(value) => SecretIdSource::Value(value.clone()),
                Id::File(path) => {
                    match open_wrapped(settings, path).await {
                        Ok(()) => {}
                        Err(error @ SecretIdError::Unwrap { .. }) => {
                            notice::note_once(&unusable(&error).one_line());
                            return None;
                        }
                        // The login after the end of the token reports it.
                        Err(_) => return None,
                    }
                    SecretIdSource::File(path.clone())
                }
            },
        })
    }

    /// Returns the credentials for one login.
    pub(crate) async fn login(&self, settings: &VaultSettings, mount: &str) -> Result<Login, Stop> {
        Ok(Login::AppRole {
            mount: mount.to_owned(),
            role_id: self.role_id.read()?,
            secret_id: self.opened(settings).await?,
        })
    }

    /// Unwraps the secret id if it is wrapped.
    async fn opened(&self, settings: &VaultSettings) -> Result<Secret<String>, Stop> {
        match &self.secret_id {
            Id::Value(value) if is_wrapped(value) => {
                let opened = Vault::unwrap(settings, value).await;
                let opened = opened.map_err(|error| {
                    let exit = crate::error::centre::exit_of_vault(&error);
                    let what = "cannot open the wrapped secret id in `VCTL_SECRET_ID`";
                    CliError::new(exit, what).caused_by(&error).hint(STOLEN)
                })?;
                let secret_id = opened["secret_id"].as_str().map(str::to_owned);
                let none = || {
                    CliError::new(
                        Exit::Config,
                        "the wrapping token in `VCTL_SECRET_ID` does not contain a secret id",
                    )
                };
                Ok(Secret::new(secret_id.ok_or_else(none)?))
            }
            Id::Value(value) => Ok(value.clone()),
            Id::File(path) => {
                let opened = open_wrapped(settings, path).await;
                opened.map_err(|error| unusable(&error))?;
                Ok(read(path)?)
            }
        }
    }
}

impl Id {
    fn read(&self) -> Result<Secret<String>, CliError> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::File(path) => read(path),
        }
    }
}

fn read(path: &Path) -> Result<Secret<String>, CliError> {
    let text = vctl_common::vault::secret_id::read(path).map_err(|error| unusable(&error))?;
    if text.expose().is_empty() {
        return Err(CliError::new(
            Exit::Config,
            format!("`{}` is empty", path.display()),
        ));
    }
    Ok(text)
}

fn unusable(error: &SecretIdError) -> CliError {
    let exit = match error {
        SecretIdError::Unwrap { source, .. } => crate::error::centre::exit_of_vault(source),
        _ => Exit::Config,
    };
    let new = CliError::new(exit, error.to_string());
    let new = match std::error::Error::source(error) {
        Some(source) => new.caused_by(source),
        None => new,
    };
    match error {
        SecretIdError::Unwrap { .. } => new.hint(STOLEN),
        _ => new.hint("set `VCTL_ROLE_ID_FILE` and `VCTL_SECRET_ID_FILE` to the files of both ids"),
    }
}

/// Returns the error for an AppRole login without ids.
pub(super) fn missing_ids() -> CliError {
    CliError::new(
        Exit::Config,
        "there is no role id and secret id for the login",
    )
    .hint(
        "set `VCTL_ROLE_ID_FILE` and `VCTL_SECRET_ID_FILE`, or `VCTL_ROLE_ID` and `VCTL_SECRET_ID`",
    )
}
