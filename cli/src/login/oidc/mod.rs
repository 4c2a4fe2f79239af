use super::Interaction;
use crate::config::Config;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use vctl_common::centre::VaultSettings;
use vctl_common::vault::Granted;
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct OidcChoices {
    #[arg(long)]
    no_browser: bool,
}
pub(super) async fn log_in(
    _: &VaultSettings,
    _: &Config,
    _: &OidcChoices,
    _: Interaction,
) -> Result<Granted, Stop> {
    Err(CliError::new(Exit::Failure, "not yet").into())
}
