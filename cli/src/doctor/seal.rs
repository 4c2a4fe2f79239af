//! Check: does a Vault answer, and is it unsealed?

use vctl_common::centre::VaultSettings;
use vctl_common::time::wall_now;
use vctl_common::vault::{Health, VaultError, health};

use super::Finding;
use super::clock::Ahead;
use crate::exit_code::Exit;

/// Vault's seal status, and the offset of its clock.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) health: Health,
    pub(crate) ahead: Ahead,
}

pub(super) async fn probe(settings: &VaultSettings) -> Finding<Heard> {
    judge(ask(settings).await, &settings.addr)
}

pub(crate) async fn ask(settings: &VaultSettings) -> Result<Heard, VaultError> {
    let asked = wall_now();
    let health = health(settings).await?;
    let ahead = Ahead::of_whole_seconds(health.server_time, asked, wall_now());
    Ok(Heard { health, ahead })
}

pub(super) fn judge(heard: Result<Heard, VaultError>, addr: &str) -> Finding<Heard> {
    let heard = match heard {
        Ok(heard) => heard,
        // Errors of the connection were reported by earlier checks.
        Err(VaultError::Answer { .. } | VaultError::NotFound { .. }) => {
            let found = format!("the server at `{addr}` is not Vault");
            return Finding::fail(
                Exit::Config,
                found,
                "set `VCTL_VAULT_ADDR` to the address of Vault",
            );
        }
        Err(error) => return Finding::failed(error),
    };
    let Health {
        initialized,
        sealed,
        standby,
        version,
        ..
    } = &heard.health;
    if !initialized {
        let fix = "ask the operators of Vault to initialise it: `vault operator init`";
        return Finding::fail(Exit::Unavailable, "Vault is not initialised", fix);
    }
    if *sealed {
        let fix = "ask the operators of Vault to unseal it";
        return Finding::fail(Exit::Unavailable, "Vault is sealed", fix);
    }
    let role = if *standby { ", a standby" } else { "" };
    Finding::pass(format!("unsealed, version {version}{role}"), heard)
}
