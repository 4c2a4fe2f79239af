//! Login with username and password.

use std::env;

use vctl_common::centre::VaultSettings;
use vctl_common::vault::{self, Granted, VaultError};

use super::Choices;
use super::denied::{self, LoginPath};
use crate::config::Config;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::ui::ask;
use crate::ui::ask::Interaction;

pub(super) async fn log_in(
    vault: &VaultSettings,
    config: &Config,
    choices: &Choices,
    interaction: Interaction,
) -> Result<Granted, Stop> {
    let username = choices.username.clone().or_else(|| config.username.clone());
    let username = username.or_else(|| env::var("USER").ok());
    let username = username.filter(|name| !name.is_empty()).ok_or_else(|| {
        CliError::new(Exit::Usage, "no username given").hint("use `--username NAME`")
    })?;
    // The username becomes a part of the request's path.
    if username.contains(['/', '?', '#']) || username.chars().any(char::is_control) {
        let message = format!("`{username}` is not a valid username");
        return Err(CliError::new(Exit::Usage, message).into());
    }
    let password = match (&choices.password, interaction.refusal()) {
        (Some(password), _) => password.clone(),
        (None, None) => {
            let question = format!("Password of {username} at {}: ", vault.addr);
            ask::hidden(interaction, &question).await?
        }
        (None, Some(reason)) => {
            let message = format!("the password is missing, and {reason}");
            let error = CliError::new(Exit::Permission, message);
            return Err(error.hint("use `vctl login --password-stdin`").into());
        }
    };
    let login = vault::Login::UserPass {
        mount: config.userpass_mount.clone(),
        username: username.clone(),
        password,
    };
    let refused = match vault::log_in(vault, &login).await {
        Err(VaultError::LoginRefused { message, .. }) => message,
        granted => return granted.map_err(Stop::from),
    };
    let what = format!("Vault refuses the login of `{username}`: {refused}");
    if !denied::is_denied(&refused) {
        return Err(CliError::new(Exit::Permission, what).into());
    }
    let login = LoginPath {
        path: format!("auth/{}/login/{username}", config.userpass_mount),
        setting: "VCTL_USERPASS_MOUNT",
        method: "userpass",
    };
    Err(denied::explained(vault, login, what).await.into())
}
