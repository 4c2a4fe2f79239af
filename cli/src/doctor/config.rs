//! Check: are the settings valid?

use vctl_common::centre::Settings;
use vctl_common::vault::Endpoint;

use super::CheckResult;
use crate::config::{self, Loaded};
use crate::error::{CliError, Stop};

/// The settings, and the endpoint of Vault.
pub(super) struct Endpoints<'a> {
    pub(super) loaded: &'a Loaded,
    pub(super) settings: Settings,
    pub(super) vault: Endpoint,
}

pub(super) fn judge(loaded: &Result<Loaded, CliError>) -> CheckResult<Endpoints<'_>> {
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            let mut error = error.clone();
            error.hint.get_or_insert_with(|| {
                "correct the value where it is set, or remove it".to_owned()
            });
            return CheckResult::failed(Stop::Error(error));
        }
    };
    let settings = config::settings(loaded);
    let vault = match Endpoint::of(&settings.vault) {
        Ok(vault) => vault,
        Err(error) => return CheckResult::failed(error),
    };
    let found = format!(
        "Vault is `{}` by {}, Postgres `{}:{}` by {}",
        settings.vault.addr,
        loaded.source_of("vault_addr"),
        settings.db.host,
        settings.db.port,
        loaded.source_of("db_host"),
    );
    let site = Endpoints {
        loaded,
        settings,
        vault,
    };
    CheckResult::pass(found, site)
}
