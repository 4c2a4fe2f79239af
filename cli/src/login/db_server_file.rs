//! What the last connections showed about the Postgres server: `~/.vctl/db-server`.
//!
//! The file contains no secret, and a wrong one costs a connection. So it belongs to no token, and is not locked.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use vctl_common::pg::Shortcuts;

use crate::files::private_file;
use crate::files::state_dir::StateDir;

const FILE: &str = "db-server";

/// Version of the format. A file of another version counts as missing.
const VERSION: u32 = 1;

/// Age after which the file counts as missing: the server may have been replaced.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

#[derive(Debug, Serialize, Deserialize)]
struct KnownServer {
    version: u32,
    /// `host:port/database`
    database: String,
    learned: Timestamp,
    shortcuts: Shortcuts,
}

impl KnownServer {
    fn new(database: &str, now: Timestamp) -> Self {
        Self {
            version: VERSION,
            database: database.to_owned(),
            learned: now,
            shortcuts: Shortcuts::default(),
        }
    }

    fn is_usable(&self, database: &str, now: Timestamp) -> bool {
        let age = now.duration_since(self.learned);
        let is_recent = !age.is_negative() && age < KEPT;
        self.version == VERSION && self.database == database && is_recent
    }
}

/// Returns what is known about this server; nothing without a usable file.
pub(super) fn read(state: &StateDir, database: &str) -> Shortcuts {
    known(state, database).shortcuts
}

/// Keeps what `change` makes of it. A failure costs later commands some round trips, and this one nothing.
pub(super) fn change(state: &StateDir, database: &str, change: &dyn Fn(Shortcuts) -> Shortcuts) {
    let mut known = known(state, database);
    let changed = change(known.shortcuts);
    if changed == known.shortcuts {
        return;
    }
    known.shortcuts = changed;
    let written = private_file::replace_unsynced(&state.file(FILE), |out| {
        serde_json::to_writer_pretty(&mut *out, &known)?;
        out.write_all(b"\n")
    });
    if let Err(error) = written {
        tracing::debug!(%error, "Cannot keep what is known about the Postgres server.");
    }
}

fn known(state: &StateDir, database: &str) -> KnownServer {
    let now = Timestamp::now();
    let text = private_file::read(&state.file(FILE)).ok();
    let known = text.and_then(|text| serde_json::from_slice::<KnownServer>(text.expose()).ok());
    known
        .filter(|known| known.is_usable(database, now))
        .unwrap_or_else(|| KnownServer::new(database, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_used_for_one_server_and_one_day() {
        let (now, database) = (Timestamp::UNIX_EPOCH, "db.example.net:5432/vctl");
        let known = KnownServer::new(database, now);
        let after = |hours| now + SignedDuration::from_hours(hours);
        assert!(known.is_usable(database, now) && known.is_usable(database, after(23)));
        assert!(!known.is_usable(database, after(24)) && !known.is_usable(database, after(-1)));
        assert!(!known.is_usable("db.example.net:5433/vctl", now));
        let newer = KnownServer {
            version: VERSION + 1,
            ..known
        };
        assert!(!newer.is_usable(database, now));
    }
}
