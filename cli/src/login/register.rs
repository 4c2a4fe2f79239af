//! `vctl login --register`: an AppRole of the user for unattended jobs.

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use vctl_common::vault::Vault;

use super::approle::{ROLE_ID, SECRET_ID};
use super::{AppRoleIds, Login, db_memory, last_method, unfinished};
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::files::private_file;
use crate::ui::notice;

/// The result of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registered {
    Created,
    AlreadyExisted,
}

impl Login<'_> {
    /// Writes role id and secret id of the AppRole for jobs to the state directory, unless they exist.
    pub(crate) async fn register(&self, vault: &Vault) -> Result<Registered, Stop> {
        let config = &self.loaded.config;
        if AppRoleIds::find(config, &self.state).is_some() {
            return Ok(Registered::AlreadyExisted);
        }
        let role = format!(
            "auth/{}/role/{}",
            config.approle_mount, config.approle_self_role
        );
        let role_id = vault.read(&format!("{role}/role-id")).await?;
        let secret_id = vault
            .write(&format!("{role}/secret-id"), &json!({}))
            .await?;
        self.state.make()?;
        for (file, id) in [
            (ROLE_ID, role_id["role_id"].as_str()),
            (SECRET_ID, secret_id["secret_id"].as_str()),
        ] {
            let none = || CliError::new(Exit::Failure, "Vault's answer does not contain an id");
            let id = id.ok_or_else(none)?;
            let path = self.state.file(file);
            private_file::replace(&path, |out| writeln!(out, "{id}")).map_err(|error| {
                let message = format!("cannot write `{}`", path.display());
                CliError::new(Exit::Failure, message).caused_by(&error)
            })?;
        }
        Ok(Registered::Created)
    }

    /// Removes the files of `register`, the last method, the properties of Postgres, and the sink.
    pub(crate) fn remove_other_files(&self) -> Result<(), CliError> {
        unfinished::remove_all(&self.state, &self.sink());
        let files = [ROLE_ID, SECRET_ID, last_method::FILE, db_memory::FILE];
        let files = files.map(|name| self.state.file(name));
        for path in files.iter().chain([&self.sink()]) {
            match fs::remove_file(path) {
                Ok(()) => notice::done(&format!("removed `{}`", path.display())),
                Err(error) if private_file::is_absence(&error) => {}
                Err(error) => {
                    let message = format!("cannot remove `{}`", path.display());
                    return Err(CliError::new(Exit::Failure, message).caused_by(&error));
                }
            }
        }
        Ok(())
    }

    /// Returns the default file of `vctl agent`.
    pub(crate) fn sink(&self) -> PathBuf {
        let configured = self.loaded.config.sink_path.clone();
        configured.unwrap_or_else(|| self.state.file("token-sink"))
    }
}
