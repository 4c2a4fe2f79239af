//! The stage of a CA rotation.

use std::time::SystemTime;

use crate::error::CliError;
use crate::exit_code::Exit;
use crate::ssh_ca::{Authority, mounts};

/// A CA recorded in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CaKey {
    pub(crate) fingerprint: String,
    /// The public key as OpenSSH writes it.
    pub(crate) line: String,
    pub(crate) mount: String,
    pub(crate) state: KeyState,
    pub(crate) since: SystemTime,
}

impl CaKey {
    pub(crate) fn authority(&self) -> Result<Authority, CliError> {
        Authority::read(&self.mount, &self.line).ok_or_else(|| {
            let message = format!("the database has no public key for {}", self.fingerprint);
            CliError::new(Exit::Failure, message)
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyState {
    /// Being added to the hosts.
    Next,
    /// Signs certificates.
    Active,
    /// Signed before the active one; hosts still trust it.
    Leaving,
    /// No longer in Vault.
    Retired,
}

impl KeyState {
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        match word {
            "next" => Some(Self::Next),
            "active" => Some(Self::Active),
            "leaving" => Some(Self::Leaving),
            "retired" => Some(Self::Retired),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// There is one CA; a new one would be created at the mount `idle`.
    Resting { active: CaKey, idle: String },
    /// The next CA is being added to the hosts.
    Spreading { active: CaKey, next: CaKey },
    /// The next CA signs now, and hosts still trust the old one.
    Moved { active: CaKey, leaving: CaKey },
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StageError {
    #[error("the database has no active SSH CA for mount `{0}/`")]
    NoneSigns(String),
    /// No step of a rotation creates this state.
    #[error("the database has {count} SSH CAs in state `{state:?}`, expected at most one")]
    Several { count: usize, state: KeyState },
    #[error("the database has a next SSH CA although another one is still leaving")]
    Both,
}

impl Stage {
    /// Determines the stage from the CAs at the configured mount and the one beside it.
    pub(crate) fn of(keys: &[CaKey], configured: &str) -> Result<Self, StageError> {
        let active = one(keys, KeyState::Active)?;
        let active = active.ok_or_else(|| StageError::NoneSigns(configured.to_owned()))?;
        match (one(keys, KeyState::Next)?, one(keys, KeyState::Leaving)?) {
            (Some(_), Some(_)) => Err(StageError::Both),
            (Some(next), None) => Ok(Self::Spreading { active, next }),
            (None, Some(leaving)) => Ok(Self::Moved { active, leaving }),
            (None, None) => {
                let idle = mounts(configured).into_iter();
                let mut idle = idle.filter(|mount| *mount != active.mount);
                let idle = idle.next().unwrap_or_default();
                Ok(Self::Resting { active, idle })
            }
        }
    }

    /// Returns the CA that every host must trust before the next step.
    pub(crate) fn to_trust(&self) -> &CaKey {
        match self {
            Self::Spreading { next, .. } => next,
            Self::Resting { active, .. } | Self::Moved { active, .. } => active,
        }
    }

    /// Returns the CA that no host may trust after the next step.
    pub(crate) fn to_remove(&self) -> Option<&CaKey> {
        match self {
            Self::Moved { leaving, .. } => Some(leaving),
            Self::Resting { .. } | Self::Spreading { .. } => None,
        }
    }
}

fn one(keys: &[CaKey], state: KeyState) -> Result<Option<CaKey>, StageError> {
    let found: Vec<&CaKey> = keys.iter().filter(|key| key.state == state).collect();
    match found[..] {
        [] => Ok(None),
        [key] => Ok(Some(key.clone())),
        _ => Err(StageError::Several {
            count: found.len(),
            state,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(mount: &str, state: KeyState) -> CaKey {
        CaKey {
            fingerprint: format!("SHA256:{mount}"),
            line: String::new(),
            mount: mount.to_owned(),
            state,
            since: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn mounts_take_turns() {
        for (signs, idle) in [("ssh", "ssh-next"), ("ssh-next", "ssh")] {
            let stage = Stage::of(&[key(signs, KeyState::Active)], "ssh");
            let resting = Stage::Resting {
                active: key(signs, KeyState::Active),
                idle: idle.to_owned(),
            };
            assert_eq!(stage, Ok(resting));
        }
    }

    #[test]
    fn impossible_states_are_errors() {
        let (a, n, l) = (
            key("ssh", KeyState::Active),
            key("ssh-next", KeyState::Next),
            key("ssh-next", KeyState::Leaving),
        );
        let stage = |keys: &[&CaKey]| {
            let keys: Vec<CaKey> = keys.iter().map(|&key| key.clone()).collect();
            Stage::of(&keys, "ssh")
        };
        assert!(matches!(stage(&[&a, &n]), Ok(Stage::Spreading { .. })));
        assert!(matches!(stage(&[&a, &l]), Ok(Stage::Moved { .. })));
        assert_eq!(stage(&[&a, &n, &l]), Err(StageError::Both));
        assert_eq!(stage(&[&n]), Err(StageError::NoneSigns("ssh".to_owned())));
        assert!(matches!(
            stage(&[&a, &a]),
            Err(StageError::Several { count: 2, .. })
        ));
    }
}
