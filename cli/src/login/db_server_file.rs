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

/// Returns what is known about this server; nothing without a usable file.
pub(super) fn read(state: &StateDir, database: &str) -> Shortcuts {
    let text = private_file::read(&state.file(FILE)).ok();
    let known = text.and_then(|text| serde_json::from_slice::<KnownServer>(text.expose()).ok());
    let usable = known.filter(|known| {
        let age = Timestamp::now().duration_since(known.learned);
        let is_recent = !age.is_negative() && age < KEPT;
        known.version == VERSION && known.database == database && is_recent
    });
    usable.map(|known| known.shortcuts).unwrap_or_default()
}

/// Replaces the file. A failure costs later commands some round trips, and this one nothing.
pub(super) fn write(state: &StateDir, database: &str, shortcuts: Shortcuts) {
    let known = KnownServer {
        version: VERSION,
        database: database.to_owned(),
        learned: Timestamp::now(),
        shortcuts,
    };
    let written = private_file::replace_unsynced(&state.file(FILE), |out| {
        serde_json::to_writer_pretty(&mut *out, &known)?;
        out.write_all(b"\n")
    });
    if let Err(error) = written {
        tracing::debug!(%error, "Cannot keep what is known about the Postgres server.");
    }
}
