//! Where a rotation stands.

use std::time::SystemTime;

use crate::ssh_ca::mounts;

/// A CA that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) fingerprint: String,
    /// The public key as OpenSSH writes it.
    pub(crate) line: String,
    pub(crate) mount: String,
    pub(crate) state: KeyState,
    pub(crate) since: SystemTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyState {
    /// Hosts are being told of it.
    Next,
    /// It signs.
    Active,
    /// It signed until the next one did.
    Leaving,
    /// It is gone.
    Retired,
}

impl KeyState {
    pub(crate) fn of_word(word: &str) -> Option<Self> {
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
    /// There is one CA; a new one would be at the mount `idle`.
    Resting { active: Key, idle: String },
    /// Hosts are being told of the next one.
    Spreading { active: Key, next: Key },
    /// The next one signs, and hosts still trust the old one.
    Moved { active: Key, leaving: Key },
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StageError {
    #[error("no SSH CA at `{0}/` is known to the database")]
    NoneSigns(String),
    /// Nothing here makes such a state.
    #[error("{count} SSH CAs are known as `{state:?}`")]
    Several { count: usize, state: KeyState },
    #[error("one SSH CA is to come while another is still leaving")]
    Both,
}

impl Stage {
    /// Judges the CAs at the configured mount and the one beside it.
    pub(crate) fn of(keys: &[Key], configured: &str) -> Result<Self, StageError> {
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

    /// The CA that every host has to trust before the next step.
    pub(crate) fn to_trust(&self) -> &Key {
        match self {
            Self::Spreading { next, .. } => next,
            Self::Resting { active, .. } | Self::Moved { active, .. } => active,
        }
    }

    /// The CA that no host is to trust after the next step.
    pub(crate) fn to_go(&self) -> Option<&Key> {
        match self {
            Self::Moved { leaving, .. } => Some(leaving),
            Self::Resting { .. } | Self::Spreading { .. } => None,
        }
    }
}

fn one(keys: &[Key], state: KeyState) -> Result<Option<Key>, StageError> {
    let found: Vec<&Key> = keys.iter().filter(|key| key.state == state).collect();
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

    fn key(mount: &str, state: KeyState) -> Key {
        Key {
            fingerprint: format!("SHA256:{mount}"),
            line: String::new(),
            mount: mount.to_owned(),
            state,
            since: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_mounts_take_turns() {
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
    fn what_no_step_makes_is_no_stage() {
        let (a, n, l) = (
            key("ssh", KeyState::Active),
            key("ssh-next", KeyState::Next),
            key("ssh-next", KeyState::Leaving),
        );
        let stage = |keys: &[&Key]| {
            let keys: Vec<Key> = keys.iter().map(|&key| key.clone()).collect();
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
