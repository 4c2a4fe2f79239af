//! The cached grants of one user, for outages of Postgres: docs/rbac.md.
//!
//! The file has the time at which Postgres confirmed the grants. It belongs to one inventory and to one user: another
//! login on this machine does not inherit it.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use vctl_common::centre::Settings;

use super::caller::CallerGrants;
use crate::files::private_file;
use crate::files::private_file::ReadError;
use crate::files::state_dir::StateDir;
use crate::login::CentreId;
use crate::ui::time;

/// Version of the format. A file of another version is ignored, and replaced by the next write.
const VERSION: u32 = 1;

const MOST_BYTES: u64 = 4 << 20;

/// Maximum age of a confirmation: a grant that was revoked permits nothing after this time.
const OLDEST: SignedDuration = SignedDuration::from_hours(24);

/// Tolerance for a clock that was set back. With a larger difference, the age is unknown.
const SLACK: SignedDuration = SignedDuration::from_hours(1);

/// Age below which unchanged grants are not written again.
const FRESH: SignedDuration = SignedDuration::from_mins(1);

/// The reason why cached grants are not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GrantCacheError {
    #[error("no grants of this user are cached on this machine")]
    Absent,
    #[error("the cached grants cannot be read")]
    Unreadable(#[source] ReadError),
    #[error("the file of cached grants is damaged, or belongs to another version of vctl")]
    Damaged,
    #[error(
        "Postgres confirmed the cached grants {0} ago; they are not used after 24 h without a confirmation"
    )]
    TooOld(String),
    #[error("the cached grants have a time in the future, by this machine's clock")]
    FromTheFuture,
}

#[derive(Serialize, Deserialize)]
struct StoredGrants {
    version: u32,
    origin: CentreId,
    /// Whole display name of the user.
    display_name: String,
    confirmed_at: Timestamp,
    groups: Vec<String>,
    /// Group and grant.
    grants: Vec<(String, String)>,
}

impl StoredGrants {
    fn grants(&self) -> CallerGrants {
        let mut grants = CallerGrants {
            confirmed_at: Some(self.confirmed_at),
            ..CallerGrants::default()
        };
        for group in &self.groups {
            grants.add(group.clone(), None);
        }
        for (group, grant) in &self.grants {
            grants.add(group.clone(), Some(grant));
        }
        grants
    }
}

/// Returns the path of the file.
pub(super) fn path(state: &StateDir) -> PathBuf {
    state.file("grants.json")
}

/// The file with the cached grants of one user.
pub(crate) struct GrantsFile<'a> {
    state: &'a StateDir,
    path: PathBuf,
    origin: CentreId,
    display_name: &'a str,
}

impl<'a> GrantsFile<'a> {
    pub(crate) fn of(state: &'a StateDir, settings: &Settings, display_name: &'a str) -> Self {
        Self {
            state,
            path: path(state),
            origin: CentreId::of(settings),
            display_name,
        }
    }

    /// Stores grants that Postgres has just confirmed. A failure is not reported: the user did not ask for the cache.
    pub(crate) fn write(&self, grants: &CallerGrants, now: Timestamp) {
        if let Ok(stored) = self.stored()
            && now.duration_since(stored.confirmed_at).abs() < FRESH
        {
            let before = stored.grants();
            if (&before.groups, &before.grants) == (&grants.groups, &grants.grants) {
                return;
            }
        }
        let all = grants.grants.iter();
        let stored = StoredGrants {
            version: VERSION,
            origin: self.origin.clone(),
            display_name: self.display_name.to_owned(),
            confirmed_at: now,
            groups: grants.groups.clone(),
            grants: all
                .map(|one| (one.group.clone(), one.grant.to_string()))
                .collect(),
        };
        let done = self.state.make().map(|()| {
            private_file::replace_unsynced(&self.path, |out| {
                Ok(serde_json::to_writer(out, &stored)?)
            })
        });
        if !matches!(done, Ok(Ok(()))) {
            tracing::debug!("The grants were not cached.");
        }
    }

    /// Returns the grants if Postgres confirmed them in the last 24 hours.
    pub(crate) fn read(&self, now: Timestamp) -> Result<CallerGrants, GrantCacheError> {
        let stored = self.stored()?;
        let age = now.duration_since(stored.confirmed_at);
        if age > OLDEST {
            return Err(GrantCacheError::TooOld(time::duration(age.unsigned_abs())));
        }
        if age < -SLACK {
            return Err(GrantCacheError::FromTheFuture);
        }
        Ok(stored.grants())
    }

    fn stored(&self) -> Result<StoredGrants, GrantCacheError> {
        let text = private_file::read_at_most(&self.path, MOST_BYTES);
        let text = text.map_err(|error| match error {
            ReadError::Absent => GrantCacheError::Absent,
            error => GrantCacheError::Unreadable(error),
        })?;
        let stored: StoredGrants =
            serde_json::from_slice(text.expose()).map_err(|_| GrantCacheError::Damaged)?;
        if stored.version != VERSION {
            return Err(GrantCacheError::Damaged);
        }
        if stored.origin != self.origin || stored.display_name != self.display_name {
            return Err(GrantCacheError::Absent);
        }
        Ok(stored)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use vctl_common::centre::{DbSettings, VaultSettings};

    use super::super::caller::tests::grants;
    use super::*;

    const NOON: Timestamp = Timestamp::constant(1_795_000_000, 0);

    fn settings(db: &str) -> Settings {
        Settings {
            vault: VaultSettings::new("https://vault.example:8200"),
            db: DbSettings::new(db),
        }
    }

    fn some() -> CallerGrants {
        grants(&[("devs", Some("ssh:dc=seoul")), ("everyone", None)])
    }

    #[test]
    fn cached_grants_have_the_time_of_their_confirmation() {
        let dir = tempfile::tempdir().unwrap();
        let (state, settings) = (StateDir::at(dir.path()), settings("db.example"));
        let file = GrantsFile::of(&state, &settings, "oidc-albert");
        assert!(matches!(file.read(NOON), Err(GrantCacheError::Absent)));
        file.write(&some(), NOON);
        let read = file.read(NOON + OLDEST).unwrap();
        assert_eq!(read.confirmed_at, Some(NOON));
        assert_eq!(
            (read.groups.len(), read.grants),
            (some().groups.len(), some().grants)
        );
        let late = NOON + OLDEST + SignedDuration::from_secs(1);
        assert!(matches!(file.read(late), Err(GrantCacheError::TooOld(_))));
        let early = NOON - SLACK - SignedDuration::from_secs(1);
        assert!(matches!(
            file.read(early),
            Err(GrantCacheError::FromTheFuture)
        ));
    }

    #[test]
    fn another_user_or_inventory_has_no_cached_grants() {
        let dir = tempfile::tempdir().unwrap();
        let (state, own) = (StateDir::at(dir.path()), settings("db.example"));
        GrantsFile::of(&state, &own, "oidc-albert").write(&some(), NOON);
        let foreign = settings("other.example");
        for (settings, name) in [(&own, "oidc-zoe"), (&foreign, "oidc-albert")] {
            let file = GrantsFile::of(&state, settings, name);
            assert!(matches!(file.read(NOON), Err(GrantCacheError::Absent)));
        }
    }

    #[test]
    fn fewer_grants_replace_the_cached_ones_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (state, settings) = (StateDir::at(dir.path()), settings("db.example"));
        let file = GrantsFile::of(&state, &settings, "oidc-albert");
        file.write(&some(), NOON);
        file.write(&grants(&[("devs", None)]), NOON);
        assert_eq!(file.read(NOON).unwrap().grants, []);
    }

    #[test]
    fn a_file_that_others_can_write_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let (state, settings) = (StateDir::at(dir.path()), settings("db.example"));
        let file = GrantsFile::of(&state, &settings, "oidc-albert");
        file.write(&some(), NOON);
        fs::set_permissions(&file.path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(
            file.read(NOON),
            Err(GrantCacheError::Unreadable(_))
        ));
    }
}
