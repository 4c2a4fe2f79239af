//! Whether what answers is Vault, and serves.

use vctl_common::centre::VaultSettings;
use vctl_common::time::wall_now;
use vctl_common::vault::{Health, VaultError, health};

use super::Finding;
use super::clock::Ahead;
use crate::exit_code::Exit;

/// What Vault said of itself, and how its clock stands to ours.
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
        // Whatever is wrong with the way there was found before.
        Err(VaultError::Answer { .. } | VaultError::NotFound { .. }) => {
            let found = format!("what answers at `{addr}` is not Vault");
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
        let fix = "its operators have to initialise it: `vault operator init`";
        return Finding::fail(Exit::Unavailable, "it was never initialised", fix);
    }
    if *sealed {
        let fix = "ask whoever operates Vault to unseal it";
        return Finding::fail(Exit::Unavailable, "it is sealed", fix);
    }
    let role = if *standby { ", a standby" } else { "" };
    Finding::pass(format!("unsealed, version {version}{role}"), heard)
}
