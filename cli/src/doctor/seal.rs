//! Check: does a Vault answer, and is it unsealed?

use vctl_common::centre::VaultSettings;
use vctl_common::time::wall_now;
use vctl_common::vault::{Health, VaultError, health};

use super::CheckResult;
use super::clock::ClockOffset;
use crate::exit_code::Exit;

/// Vault's seal status, and the offset of its clock.
#[derive(Debug)]
pub(crate) struct SealStatus {
    pub(crate) health: Health,
    pub(crate) offset: ClockOffset,
}

pub(super) async fn check(settings: &VaultSettings) -> CheckResult<SealStatus> {
    judge(ask(settings).await, &settings.addr)
}

pub(crate) async fn ask(settings: &VaultSettings) -> Result<SealStatus, VaultError> {
    let asked = wall_now();
    let health = health(settings).await?;
    let offset = ClockOffset::of_whole_seconds(health.server_time, asked, wall_now());
    Ok(SealStatus { health, offset })
}

pub(super) fn judge(seal: Result<SealStatus, VaultError>, addr: &str) -> CheckResult<SealStatus> {
    let seal = match seal {
        Ok(seal) => seal,
        // Errors of the connection were reported by earlier checks.
        Err(VaultError::Answer { .. } | VaultError::NotFound { .. }) => {
            let found = format!("the server at `{addr}` is not Vault");
            return CheckResult::fail(
                Exit::Config,
                found,
                "set `VCTL_VAULT_ADDR` to the address of Vault",
            );
        }
        Err(error) => return CheckResult::failed(error),
    };
    let Health {
        initialized,
        sealed,
        standby,
        version,
        ..
    } = &seal.health;
    if !initialized {
        let fix = "ask the operators of Vault to initialise it: `vault operator init`";
        return CheckResult::fail(Exit::Unavailable, "Vault is not initialised", fix);
    }
    if *sealed {
        let fix = "ask the operators of Vault to unseal it";
        return CheckResult::fail(Exit::Unavailable, "Vault is sealed", fix);
    }
    let role = if *standby { ", a standby" } else { "" };
    CheckResult::pass(format!("unsealed, version {version}{role}"), seal)
}
