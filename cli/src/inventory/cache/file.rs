//! The file: whole or not there, its owner's alone, and of one inventory.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use vctl_common::centre::Settings;
use vctl_common::secret::Secret;

use crate::error::CliError;
use crate::exit_code::Exit;
use crate::files::private_file;
use crate::files::private_file::ReadError;
use crate::files::state_dir::StateDir;
use crate::inventory::Host;
use crate::login::Binding;
use crate::ui::time;

/// Changes when a host is kept in another form. One of another version is none: the next one replaces it.
const VERSION: u32 = 1;

/// 200,000 hosts.
const MOST: u64 = 64 << 20;

/// Older hosts mislead more often than they help.
const OLDEST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A clock that was put back by more than this makes every age a guess.
const SLACK: SignedDuration = SignedDuration::from_hours(1);

/// The inventory that hosts are of: one database, with logins of one Vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    #[serde(flatten)]
    pub(crate) vault: Binding,
    /// `host:port/name`
    pub(crate) database: String,
}

impl Origin {
    pub(crate) fn of(settings: &Settings) -> Self {
        let (vault, db) = (&settings.vault, &settings.db);
        Self {
            vault: Binding::new(&vault.addr, vault.namespace.as_deref()),
            database: format!("{}:{}/{}", db.host, db.port, db.name),
        }
    }
}

/// All hosts, as they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// By this machine's clock.
    pub(crate) taken_at: Timestamp,
    /// By data centre and name, as `store::inventory::hosts`.
    pub(crate) hosts: Vec<Host>,
}

impl Snapshot {
    pub(crate) fn age(&self, now: Timestamp) -> SignedDuration {
        now.duration_since(self.taken_at).max(SignedDuration::ZERO)
    }
}

/// Why what is kept is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("no hosts are kept on this machine")]
    Absent,
    #[error("the hosts that are kept on this machine cannot be read")]
    Unreadable(#[source] ReadError),
    #[error("what is kept on this machine makes no sense to this vctl")]
    Torn,
    #[error("the hosts that are kept on this machine are of another inventory: {}", .0.database)]
    Foreign(Box<Origin>),
    #[error("the hosts that are kept on this machine are {} old; after 7 days they are not used", .0)]
    TooOld(String),
    #[error("the hosts that are kept on this machine were read in the future, by its clock")]
    FromTheFuture,
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    origin: &'a Origin,
    taken_at: Timestamp,
    hosts: &'a [Host],
}

/// With the whole hosts, or with their names alone.
#[derive(Deserialize)]
struct Read<H> {
    version: u32,
    origin: Origin,
    taken_at: Timestamp,
    hosts: Vec<H>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

/// Where hosts are kept.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotFile {
    state: StateDir,
    path: PathBuf,
    origin: Origin,
}

impl SnapshotFile {
    pub(crate) fn in_dir(state: &StateDir, settings: &Settings) -> Self {
        Self {
            state: state.clone(),
            path: state.file("inventory.json"),
            origin: Origin::of(settings),
        }
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps hosts in place of those that are kept.
    ///
    /// # Errors
    /// They are none: whoever lost sight of the inventory would lose what they could still see of it.
    pub(crate) fn write(&self, hosts: &[Host], taken_at: Timestamp) -> Result<(), CliError> {
        if hosts.is_empty() {
            let error = CliError::new(Exit::NotFound, "an empty inventory is not kept");
            return Err(error.hint("what was kept before stays; `vctl cache clear` removes it"));
        }
        self.state.make()?;
        let written = Written {
            version: VERSION,
            origin: &self.origin,
            taken_at,
            hosts,
        };
        // Not waited for until it is on disk: after a crash a torn one is none, and the next list makes it.
        let done = private_file::replace_unsynced(&self.path, |out| {
            serde_json::to_writer(&mut *out, &written)?;
            out.write_all(b"\n")
        });
        done.map_err(|error| {
            let message = format!("cannot keep the hosts in `{}`", self.path.display());
            CliError::new(Exit::Failure, message).caused_by(&error)
        })
    }

    /// Returns what is kept, when it is of this inventory and no older than 7 days.
    pub(crate) fn read(&self, now: Timestamp) -> Result<Snapshot, Unusable> {
        let text = self.text()?;
        let read: Read<Host> = serde_json::from_slice(text.expose()).map_err(|_| Unusable::Torn)?;
        self.check(&read, now)?;
        Ok(Snapshot {
            taken_at: read.taken_at,
            hosts: read.hosts,
        })
    }

    /// Returns the names of the hosts that are kept, as [`SnapshotFile::read`], and reads no more of them.
    pub(crate) fn names(&self, now: Timestamp) -> Result<Vec<String>, Unusable> {
        let text = self.text()?;
        let read: Read<Named> =
            serde_json::from_slice(text.expose()).map_err(|_| Unusable::Torn)?;
        self.check(&read, now)?;
        let names = read.hosts.into_iter().map(|host| host.name.into_owned());
        Ok(names.collect())
    }

    /// Takes away what is kept, and returns whether there was something.
    pub(crate) fn remove(&self) -> Result<bool, CliError> {
        private_file::remove(&self.path)
    }

    fn text(&self) -> Result<Secret<Vec<u8>>, Unusable> {
        private_file::read_at_most(&self.path, MOST).map_err(|error| match error {
            ReadError::Absent => Unusable::Absent,
            error => Unusable::Unreadable(error),
        })
    }

    fn check<H>(&self, read: &Read<H>, now: Timestamp) -> Result<(), Unusable> {
        if read.version != VERSION || read.hosts.is_empty() {
            return Err(Unusable::Torn);
        }
        if read.origin != self.origin {
            return Err(Unusable::Foreign(Box::new(read.origin.clone())));
        }
        let age = now.duration_since(read.taken_at);
        if age > OLDEST {
            return Err(Unusable::TooOld(time::duration(age.unsigned_abs())));
        }
        if age < -SLACK {
            return Err(Unusable::FromTheFuture);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use vctl_common::centre::{DbSettings, VaultSettings};

    use super::*;
    use crate::inventory::tests::host;

    const NOON: Timestamp = Timestamp::constant(1_795_000_000, 0);

    fn settings() -> Settings {
        Settings {
            vault: VaultSettings::new("https://vault.example:8200"),
            db: DbSettings::new("db.example"),
        }
    }

    fn file(dir: &tempfile::TempDir, settings: &Settings) -> SnapshotFile {
        SnapshotFile::in_dir(&StateDir::at(dir.path()), settings)
    }

    fn hosts() -> Vec<Host> {
        let mut hosts = ["edge", "web-1"].map(host);
        hosts[1].jump_via = Some("edge".to_owned());
        hosts[1].observed_ips = vec!["2001:db8::7".parse().unwrap()];
        hosts[1].tags = vec!["a\"b".to_owned()];
        hosts.into()
    }

    #[test]
    fn what_was_kept_is_read_back_but_for_what_was_seen() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(&dir, &settings());
        assert!(matches!(file.read(NOON), Err(Unusable::Absent)));
        let mut seen = hosts();
        seen[0].last_seen_up = Some(NOON.into());
        file.write(&seen, NOON).unwrap();
        let mode = fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let kept = file.read(NOON).unwrap();
        assert_eq!(kept.hosts, hosts());
        assert_eq!(kept.taken_at, NOON);
        assert_eq!(file.names(NOON).unwrap(), ["edge", "web-1"]);
        assert!(file.remove().unwrap());
        assert!(!file.remove().unwrap());
    }

    #[test]
    fn no_hosts_take_nothing_away() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(&dir, &settings());
        file.write(&hosts(), NOON).unwrap();
        assert_eq!(file.write(&[], NOON).unwrap_err().exit, Exit::NotFound);
        assert_eq!(file.read(NOON).unwrap().hosts.len(), 2);
    }

    #[test]
    fn it_is_of_one_vault_one_namespace_and_one_database() {
        let dir = tempfile::tempdir().unwrap();
        file(&dir, &settings()).write(&hosts(), NOON).unwrap();
        let changes: [fn(&mut Settings); 4] = [
            |other| other.vault.addr = "https://vault.example:8201".to_owned(),
            |other| other.vault.namespace = Some("team".to_owned()),
            |other| other.db.name = "staging".to_owned(),
            |other| other.db.host = "db2.example".to_owned(),
        ];
        for change in changes {
            let mut other = settings();
            change(&mut other);
            let file = file(&dir, &other);
            assert!(matches!(file.read(NOON), Err(Unusable::Foreign(_))));
            assert!(matches!(file.names(NOON), Err(Unusable::Foreign(_))));
        }
    }

    #[test]
    fn after_seven_days_it_is_not_used_and_nor_is_one_of_the_future() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(&dir, &settings());
        file.write(&hosts(), NOON).unwrap();
        let second = SignedDuration::from_secs(1);
        assert!(file.read(NOON + OLDEST).is_ok());
        let late = file.read(NOON + OLDEST + second);
        assert!(matches!(late, Err(Unusable::TooOld(_))));
        assert!(file.read(NOON - SLACK).is_ok());
        let early = file.read(NOON - SLACK - second);
        assert!(matches!(early, Err(Unusable::FromTheFuture)));
    }

    #[test]
    fn what_is_torn_or_of_another_version_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(&dir, &settings());
        file.write(&hosts(), NOON).unwrap();
        let text = fs::read_to_string(file.path()).unwrap();
        let newer = text.replacen("\"version\":1", "\"version\":2", 1);
        for text in ["", "{}", &text[..text.len() / 2], &newer] {
            fs::write(file.path(), text).unwrap();
            assert!(matches!(file.read(NOON), Err(Unusable::Torn)), "{text}");
        }
    }
}
