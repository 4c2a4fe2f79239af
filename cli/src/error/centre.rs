//! Errors of Vault and Postgres as CLI errors: exit status and hint.

use std::error::Error as _;

use vctl_common::pg::PgError;
use vctl_common::vault::VaultError;

use crate::error::{CliError, Stop};
use crate::exit_code::Exit;

impl CliError {
    /// Returns an error for a failed action, with the answer of Vault or Postgres as its cause.
    pub(crate) fn centre(message: impl Into<String>, error: &PgError) -> Self {
        let new = Self::new(exit_of(error), message).caused_by(error);
        with_hint(new, error.hint())
    }
}

impl From<PgError> for Stop {
    fn from(error: PgError) -> Self {
        CliError::from(error).into()
    }
}

impl From<VaultError> for Stop {
    fn from(error: VaultError) -> Self {
        CliError::from(error).into()
    }
}

impl From<PgError> for CliError {
    fn from(error: PgError) -> Self {
        let mut new = CliError::new(exit_of(&error), error.to_string());
        if let Some(cause) = error.source() {
            new = new.caused_by(cause);
        }
        with_hint(new, error.hint())
    }
}

impl From<VaultError> for CliError {
    fn from(error: VaultError) -> Self {
        let mut new = CliError::new(exit_of_vault(&error), error.to_string());
        if let Some(cause) = error.source() {
            new = new.caused_by(cause);
        }
        with_hint(new, error.hint())
    }
}

fn with_hint(error: CliError, hint: Option<String>) -> CliError {
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn exit_of(error: &PgError) -> Exit {
    match error {
        PgError::Setting { .. }
        | PgError::NoDatabase { .. }
        | PgError::Setup { .. }
        | PgError::SchemaTooOld(_)
        | PgError::ProgramTooOld { .. } => Exit::Config,
        PgError::Credential(error) => exit_of_vault(error),
        PgError::Unreachable { .. }
        | PgError::Timeout { .. }
        | PgError::Plaintext { .. }
        | PgError::Unproven { .. }
        | PgError::Tls { .. } => Exit::Unavailable,
        PgError::TooManyConnections { .. }
        | PgError::Busy { .. }
        | PgError::LoginBroke { .. }
        | PgError::Broken(_) => Exit::TryAgain,
        PgError::Login { .. } | PgError::Denied(_) => Exit::Permission,
        PgError::NotInInventory(_) => Exit::NotFound,
        PgError::Failed(_) if error.is_retryable() => Exit::TryAgain,
        PgError::Failed(_) | PgError::Closed => Exit::Failure,
    }
}

pub(crate) fn exit_of_vault(error: &VaultError) -> Exit {
    match error {
        VaultError::Address { .. }
        | VaultError::Setup { .. }
        | VaultError::TokenText
        | VaultError::SecretId { .. }
        | VaultError::NoRole { .. }
        | VaultError::NotFound { .. } => Exit::Config,
        VaultError::RateLimited { .. } => Exit::TryAgain,
        VaultError::Denied { .. }
        | VaultError::TokenInvalid
        | VaultError::LoginRefused { .. }
        | VaultError::WrapInvalid => Exit::Permission,
        VaultError::Unreachable { .. }
        | VaultError::Timeout { .. }
        | VaultError::Tls { .. }
        | VaultError::Sealed { .. } => Exit::Unavailable,
        VaultError::Http { status, .. } if *status >= 500 => Exit::Unavailable,
        VaultError::Http { .. } | VaultError::Answer { .. } => Exit::Failure,
    }
}
