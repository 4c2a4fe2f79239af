//! Properties of the Postgres server and of its logins from the last connections: `~/.vctl/db-server`.
//!
//! The file contains no secret, and a wrong one costs a connection. So it belongs to no token, and is not locked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vctl_common::pg::Shortcuts;

use crate::files::private_file;
use crate::files::state_dir::StateDir;

pub(super) const FILE: &str = "db-server";

/// Version of the format. A file of another version counts as missing.
const VERSION: u32 = 2;

/// Most servers in the file. The one that was learned first makes room.
const SERVERS: usize = 8;

/// Most roles in the file.
const ROLES: usize = 16;

#[derive(Debug, Serialize, Deserialize)]
struct DbMemory {
    version: u32,
    /// By `host:port/database`.
    servers: BTreeMap<String, KnownServer>,
    /// Roles of Vault with a last login that lived too short for another command: `address namespace path`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    short_lived: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct KnownServer {
    learned: Timestamp,
    shortcuts: Shortcuts,
}

impl DbMemory {
    fn shortcuts(&self, database: &str, now: Timestamp) -> Shortcuts {
        let known = self.servers.get(database).filter(|known| {
            let age = Duration::try_from(now.duration_since(known.learned));
            age.is_ok_and(|age| age < known.shortcuts.lifetime())
        });
        known.map(|known| known.shortcuts).unwrap_or_default()
    }

    fn learn(&mut self, database: &str, shortcuts: Shortcuts, now: Timestamp) {
        let learned = KnownServer {
            learned: now,
            shortcuts,
        };
        self.servers.insert(database.to_owned(), learned);
        while self.servers.len() > SERVERS {
            let oldest = self.servers.iter().min_by_key(|(_, known)| known.learned);
            let Some(oldest) = oldest.map(|(database, _)| database.clone()) else {
                return;
            };
            self.servers.remove(&oldest);
        }
    }
}

/// Returns what is known about this server; nothing without a usable file.
pub(super) fn read(state: &StateDir, database: &str) -> Shortcuts {
    known(state).shortcuts(database, Timestamp::now())
}

/// Stores the result of `change`. After a failure later commands need more round trips.
pub(super) fn change(state: &StateDir, database: &str, change: &dyn Fn(Shortcuts) -> Shortcuts) {
    let now = Timestamp::now();
    let mut known = known(state);
    let before = known.shortcuts(database, now);
    let after = change(before);
    if after == before {
        return;
    }
    known.learn(database, after, now);
    write(state, &known);
}

/// Returns whether the last login of this role lived long enough for another command; true if none is known.
pub(super) fn may_last(state: &StateDir, vault_role: &str) -> bool {
    !known(state).short_lived.contains(vault_role)
}

/// Notes whether a new login of this role lives long enough for another command.
pub(super) fn learn_lasting(state: &StateDir, vault_role: &str, is_lasting: bool) {
    let mut known = known(state);
    let is_news = if is_lasting {
        known.short_lived.remove(vault_role)
    } else {
        known.short_lived.insert(vault_role.to_owned())
    };
    if is_news {
        // One entry too few costs a wait.
        while known.short_lived.len() > ROLES {
            known.short_lived.pop_first();
        }
        write(state, &known);
    }
}

fn write(state: &StateDir, known: &DbMemory) {
    let written = private_file::replace_unsynced(&state.file(FILE), |out| {
        serde_json::to_writer_pretty(&mut *out, known)?;
        out.write_all(b"\n")
    });
    if let Err(error) = written {
        tracing::debug!(%error, "Cannot keep what is known about the Postgres server.");
    }
}

fn known(state: &StateDir) -> DbMemory {
    let text = private_file::read(&state.file(FILE)).ok();
    let known = text.and_then(|text| serde_json::from_slice::<DbMemory>(text.expose()).ok());
    known
        .filter(|known| known.version == VERSION)
        .unwrap_or_else(|| DbMemory {
            version: VERSION,
            servers: BTreeMap::new(),
            short_lived: BTreeSet::new(),
        })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    const DATABASE: &str = "db.example.net:5432/vctl";

    fn empty() -> DbMemory {
        DbMemory {
            version: VERSION,
            servers: BTreeMap::new(),
            short_lived: BTreeSet::new(),
        }
    }

    #[test]
    fn shortcuts_are_used_for_one_server_and_one_day() {
        let now = Timestamp::UNIX_EPOCH;
        let after = |hours| now + SignedDuration::from_hours(hours);
        for (scram, hours) in [(true, 24), (false, 1)] {
            let shortcuts = Shortcuts {
                direct_tls: Some(true),
                scram: Some(scram),
            };
            let mut known = empty();
            known.learn(DATABASE, shortcuts, now);
            assert_eq!(known.shortcuts(DATABASE, after(hours - 1)), shortcuts);
            let unknown = Shortcuts::default();
            assert_eq!(known.shortcuts(DATABASE, after(hours)), unknown);
            assert_eq!(known.shortcuts(DATABASE, after(-1)), unknown);
            assert_eq!(known.shortcuts("db.example.net:5433/vctl", now), unknown);
        }
    }

    #[test]
    fn the_server_that_was_learned_first_makes_room() {
        let shortcuts = Shortcuts {
            direct_tls: None,
            scram: Some(true),
        };
        let mut known = empty();
        let now = Timestamp::UNIX_EPOCH;
        for (minute, number) in (0..).zip((0..=SERVERS).rev()) {
            let learned = now + SignedDuration::from_mins(minute);
            known.learn(&format!("db-{number}"), shortcuts, learned);
        }
        assert_eq!(known.servers.len(), SERVERS);
        assert!(!known.servers.contains_key(&format!("db-{SERVERS}")));
    }
}
