//! The hosts, sessions and people of the last commands, for completion and the host picker, and the mount that signed.
//!
//! If the file cannot be read or written, these are empty; nothing else depends on it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vctl_common::centre::Settings;

use crate::error::CliError;
use crate::files::private_file;
use crate::files::state_dir::StateDir;
use crate::login::CentreId;

/// Version of the format.
const VERSION: u32 = 1;

const MOST_BYTES: u64 = 1 << 20;
const MOST_HOSTS: usize = 50;
const MOST_NAMES: usize = 1_000;

/// Recent names: in each list the newest first, without duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Recent {
    /// Hosts of connections.
    pub(crate) hosts: Vec<String>,
    /// Serials and session ids.
    pub(crate) sessions: Vec<String>,
    pub(crate) people: Vec<String>,
    /// Mount of the SSH CA that signed last, if a lookup returned another one than was expected.
    pub(crate) signing_mount: Option<String>,
}

impl Recent {
    /// Moves a host to the front.
    pub(crate) fn record_host(&mut self, name: &str) {
        put_first(&mut self.hosts, [name.to_owned()], MOST_HOSTS);
    }

    /// Moves serials and session ids to the front, in their order.
    pub(crate) fn record_sessions(&mut self, names: impl IntoIterator<Item = String>) {
        put_first(&mut self.sessions, names, MOST_NAMES);
    }

    /// Moves people to the front, in their order.
    pub(crate) fn record_people(&mut self, names: impl IntoIterator<Item = String>) {
        put_first(&mut self.people, names, MOST_NAMES);
    }
}

fn put_first(list: &mut Vec<String>, names: impl IntoIterator<Item = String>, most: usize) {
    let mut known = std::collections::HashSet::new();
    let all = names.into_iter().chain(std::mem::take(list));
    let all = all.filter(|name| known.insert(name.clone()));
    *list = all.take(most).collect();
}

#[derive(Serialize, Deserialize)]
struct StoredRecent {
    version: u32,
    origin: CentreId,
    #[serde(flatten)]
    recent: Recent,
}

/// The file for one inventory. The file of another inventory is replaced.
#[derive(Clone, Debug)]
pub(crate) struct RecentFile {
    state: StateDir,
    path: PathBuf,
    origin: CentreId,
}

impl RecentFile {
    pub(crate) fn in_dir(state: &StateDir, settings: &Settings) -> Self {
        Self {
            state: state.clone(),
            path: state.file("recent.json"),
            origin: CentreId::of(settings),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the recent names of this inventory.
    pub(crate) fn read(&self) -> Recent {
        let Ok(text) = private_file::read_at_most(&self.path, MOST_BYTES) else {
            return Recent::default();
        };
        match serde_json::from_slice::<StoredRecent>(text.expose()) {
            Ok(written) if written.version == VERSION && written.origin == self.origin => {
                written.recent
            }
            _ => Recent::default(),
        }
    }

    /// Changes the file. Two processes at the same time may lose one change, which does not matter here.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Recent)) {
        let before = self.read();
        let mut recent = before.clone();
        change(&mut recent);
        if recent == before {
            return;
        }
        let written = StoredRecent {
            version: VERSION,
            origin: self.origin.clone(),
            recent,
        };
        let done = self.state.make().map(|()| {
            private_file::replace_unsynced(&self.path, |out| {
                Ok(serde_json::to_writer(out, &written)?)
            })
        });
        if !matches!(done, Ok(Ok(()))) {
            tracing::debug!("The names of this command are not cached for completion.");
        }
    }

    pub(crate) fn remove(&self) -> Result<bool, CliError> {
        private_file::remove(self.path())
    }
}

#[cfg(test)]
mod tests {
    use vctl_common::centre::{DbSettings, VaultSettings};

    use super::*;

    fn settings(db: &str) -> Settings {
        Settings {
            vault: VaultSettings::new("https://vault.example:8200"),
            db: DbSettings::new(db),
        }
    }

    #[test]
    fn recent_names_are_newest_first_without_duplicates() {
        let dir = tempfile::tempdir().unwrap();
        let file = RecentFile::in_dir(&StateDir::at(dir.path()), &settings("db.example"));
        for name in ["web-1", "db-1", "web-1"] {
            file.change(|recent| recent.record_host(name));
        }
        file.change(|recent| recent.record_sessions(["7341".to_owned(), "7342".to_owned()]));
        file.change(|recent| recent.record_sessions(["7342".to_owned(), "7343".to_owned()]));
        let recent = file.read();
        assert_eq!(recent.hosts, ["web-1", "db-1"]);
        assert_eq!(recent.sessions, ["7342", "7343", "7341"]);
        file.change(|recent| {
            recent.record_people((0..2 * MOST_NAMES).map(|number| number.to_string()));
        });
        assert_eq!(file.read().people.len(), MOST_NAMES);
        assert!(file.remove().unwrap());
        assert_eq!(file.read(), Recent::default());
    }

    #[test]
    fn names_of_another_inventory_are_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        let file = RecentFile::in_dir(&state, &settings("db.example"));
        file.change(|recent| recent.record_host("web-1"));
        let other = RecentFile::in_dir(&state, &settings("other.example"));
        assert_eq!(other.read(), Recent::default());
        std::fs::write(file.path(), "{").unwrap();
        assert_eq!(file.read(), Recent::default());
    }
}
