//! Asks Vault whether the secret id of an enrolment can still be opened, before it replaces one that works.

use std::time::Duration;

use tokio::runtime;
use tokio::time::timeout;
use vctl_common::causes::WithCauses;
use vctl_common::secret::Secret;
use vctl_common::vault::secret_id::{is_wrapped, read};
use vctl_common::vault::{Vault, VaultError};

use super::error::SetupError;
use crate::config::Config;

/// Time limit for the answer of Vault.
const PATIENCE: Duration = Duration::from_secs(10);

/// Refuses a wrapped secret id that would replace an opened one for good: a used or expired one, or any while Vault cannot
/// be asked. The collector could not open such a secret id.
pub(super) fn check(config: &Config, wrapped: &str) -> Result<(), SetupError> {
    let file = &config.centre.secret_id_file;
    let has_opened = read(file).is_ok_and(|old| !is_wrapped(&old));
    let wrapped = Secret::new(wrapped.to_owned());
    if !has_opened || !is_wrapped(&wrapped) {
        return Ok(());
    }
    let path = file.display().to_string();
    let unknown = |why: String| SetupError::UnknownEnrolment {
        path: path.clone(),
        why,
    };
    let centre = config.centre.centre(&config.host);
    let centre = centre.map_err(|error| unknown(WithCauses(&error).to_string()))?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| unknown(error.to_string()))?;
    let ask = Vault::look_up_wrapped(&centre.settings.vault, &wrapped);
    let answer = runtime.block_on(async { timeout(PATIENCE, ask).await });
    // A query to a name server that does not answer runs on a thread that cannot be stopped.
    runtime.shutdown_background();
    match answer {
        Ok(Err(VaultError::WrapInvalid)) => Err(SetupError::UsedEnrolment { path }),
        // A proxy may allow only the paths of the agent.
        Ok(Ok(()) | Err(VaultError::Denied { .. } | VaultError::NotFound { .. })) => Ok(()),
        Ok(Err(error)) => Err(unknown(WithCauses(&error).to_string())),
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            Err(unknown(format!("Vault did not answer within {seconds} s")))
        }
    }
}
