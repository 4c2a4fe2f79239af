//! The cache file: written atomically, private, and for one inventory.

use std::borrow::Cow;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

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
use crate::login::CentreId;
use crate::ui::time;

/// Version of the format. A file of another version is ignored, and replaced by the next write.
const VERSION: u32 = 1;

/// Maximum size of the file: about 200,000 hosts.
const MOST: u64 = 64 << 20;

/// Maximum size for a command that saves less time by the cache than a larger file takes: about 12,000 hosts.
const SMALL: u64 = 4 << 20;

/// Maximum age: older hosts are more misleading than helpful.
const OLDEST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Shortest time between two writes of one process. A server that lists its hosts again and again writes them once.
const BETWEEN_WRITES: SignedDuration = SignedDuration::from_secs(10);

/// Tolerance for a clock that was set back. With a larger difference, the age is unknown.
const SLACK: SignedDuration = SignedDuration::from_hours(1);

/// All hosts at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Time of the read, by this machine's clock.
    pub(crate) taken_at: Timestamp,
    /// By data centre and name, like `inventory::store::hosts`.
    pub(crate) hosts: Vec<Host>,
}

impl Snapshot {
    pub(crate) fn age(&self, now: Timestamp) -> SignedDuration {
        now.duration_since(self.taken_at).max(SignedDuration::ZERO)
    }
}

/// The reason why the cache is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    #[error("no hosts are cached on this machine")]
    Absent,
    #[error("the cached hosts cannot be read")]
    Unreadable(#[source] ReadError),
    #[error("the cache file is damaged, or belongs to another version of vctl")]
    Damaged,
    #[error("the cached hosts belong to another inventory: {}", .0.database)]
    Foreign(Box<CentreId>),
    #[error("the cached hosts are {} old; they are not used after 7 days", .0)]
    TooOld(String),
    #[error("the cached hosts have a time in the future, by this machine's clock")]
    FromTheFuture,
}

#[derive(Serialize)]
struct StoredHosts<'a> {
    version: u32,
    origin: &'a CentreId,
    taken_at: Timestamp,
    hosts: &'a [Host],
}

/// The file, with complete hosts or only their names.
#[derive(Deserialize)]
struct LoadedHosts<H> {
    version: u32,
    origin: CentreId,
    taken_at: Timestamp,
    hosts: Vec<H>,
}

#[derive(Deserialize)]
struct NameOnly<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

/// The file with the cached hosts.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotFile {
    state: StateDir,
    path: PathBuf,
    origin: CentreId,
    /// Time of the last write by this process.
    written_at: Rc<Cell<Option<Timestamp>>>,
}

impl SnapshotFile {
    pub(crate) fn in_dir(state: &StateDir, settings: &Settings) -> Self {
        Self {
            state: state.clone(),
            path: state.file("inventory.json"),
            origin: CentreId::of(settings),
            written_at: Rc::default(),
        }
    }

    pub(crate) fn origin(&self) -> &CentreId {
        &self.origin
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the cached hosts.
    ///
    /// # Errors
    /// The list is empty: a user who has lost read access would lose the cache too.
    pub(crate) fn write(&self, hosts: &[Host], taken_at: Timestamp) -> Result<(), CliError> {
        if hosts.is_empty() {
            let error = CliError::new(Exit::NotFound, "an empty inventory is not cached");
            return Err(error.hint("the previous cache stays; `vctl cache clear` removes it"));
        }
        self.state.make()?;
        let stored = StoredHosts {
            version: VERSION,
            origin: &self.origin,
            taken_at,
            hosts,
        };
        // No wait for the disk: an incomplete file after a crash is ignored, and the next list replaces it.
        let done = private_file::replace_unsynced(&self.path, |out| {
            serde_json::to_writer(&mut *out, &stored)?;
            out.write_all(b"\n")
        });
        self.written_at.set(done.is_ok().then_some(taken_at));
        done.map_err(|error| {
            let message = format!("cannot write the hosts to `{}`", self.path.display());
            CliError::new(Exit::Failure, message).caused_by(&error)
        })
    }

    /// Like [`write`](Self::write), but does nothing shortly after a write.
    pub(crate) fn write_if_due(&self, hosts: &[Host], now: Timestamp) -> Result<(), CliError> {
        let age = self.written_at.get().map(|at| now.duration_since(at));
        // The clock may have been set back.
        if age.is_some_and(|age| !age.is_negative() && age < BETWEEN_WRITES) {
            return Ok(());
        }
        self.write(hosts, now)
    }

    /// Returns the cached hosts, if they belong to this inventory and are not older than 7 days.
    pub(crate) fn read(&self, now: Timestamp) -> Result<Snapshot, CacheError> {
        self.read_at_most(MOST, now)
    }

    /// Like [`read`](Self::read), but takes milliseconds: a large file is an error.
    pub(crate) fn read_small(&self, now: Timestamp) -> Result<Snapshot, CacheError> {
        self.read_at_most(SMALL, now)
    }

    /// Changes cached hosts to what a lookup returned, if there are any. The time of the file stays: the other hosts are
    /// as old as before. A failure is not reported: the user did not ask for the cache.
    pub(crate) fn correct(&self, now: Timestamp, change: impl FnOnce(&mut Vec<Host>)) {
        let Ok(mut cached) = self.read_small(now) else {
            return;
        };
        change(&mut cached.hosts);
        if let Err(error) = self.write(&cached.hosts, cached.taken_at) {
            tracing::debug!(error = %error.one_line(), "The cached hosts were not corrected.");
        }
    }

    fn read_at_most(&self, most: u64, now: Timestamp) -> Result<Snapshot, CacheError> {
        let text = self.text(most)?;
        let read: LoadedHosts<Host> =
            serde_json::from_slice(text.expose()).map_err(|_| CacheError::Damaged)?;
        self.check(&read, now)?;
        Ok(Snapshot {
            taken_at: read.taken_at,
            hosts: read.hosts,
        })
    }

    /// Returns only the names of the cached hosts, under the same conditions as [`SnapshotFile::read`].
    pub(crate) fn names(&self, now: Timestamp) -> Result<Vec<String>, CacheError> {
        let text = self.text(MOST)?;
        let read: LoadedHosts<NameOnly> =
            serde_json::from_slice(text.expose()).map_err(|_| CacheError::Damaged)?;
        self.check(&read, now)?;
        let names = read.hosts.into_iter().map(|host| host.name.into_owned());
        Ok(names.collect())
    }

    /// Removes the file, and returns whether there was one.
    pub(crate) fn remove(&self) -> Result<bool, CliError> {
        private_file::remove(&self.path)
    }

    fn text(&self, most: u64) -> Result<Secret<Vec<u8>>, CacheError> {
        private_file::read_at_most(&self.path, most).map_err(|error| match error {
            ReadError::Absent => CacheError::Absent,
            error => CacheError::Unreadable(error),
        })
    }

    fn check<H>(&self, read: &LoadedHosts<H>, now: Timestamp) -> Result<(), CacheError> {
        if read.version != VERSION || read.hosts.is_empty() {
            return Err(CacheError::Damaged);
        }
        if read.origin != self.origin {
            return Err(CacheError::Foreign(Box::new(read.origin.clone())));
        }
        let age = now.duration_since(read.taken_at);
        if age > OLDEST {
            return Err(CacheError::TooOld(time::duration(age.unsigned_abs())));
        }
        if age < -SLACK {
            return Err(CacheError::FromTheFuture);
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
    fn the_cache_keeps_hosts_without_observations() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(&dir, &settings());
        assert!(matches!(file.read(NOON), Err(CacheError::Absent)));
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
    fn an_empty_list_does_not_replace_the_cache() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(&dir, &settings());
        file.write(&hosts(), NOON).unwrap();
        assert_eq!(file.write(&[], NOON).unwrap_err().exit, Exit::NotFound);
        assert_eq!(file.read(NOON).unwrap().hosts.len(), 2);
    }

    #[test]
    fn hosts_that_were_just_cached_are_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(&dir, &settings());
        let second = SignedDuration::from_secs(1);
        file.write_if_due(&hosts(), NOON).unwrap();
        // A lookup of another call has a clone.
        let same = file.clone();
        for (now, taken_at) in [
            (NOON + second, NOON),
            (NOON + BETWEEN_WRITES, NOON + BETWEEN_WRITES),
            (NOON, NOON),
        ] {
            same.write_if_due(&hosts(), now).unwrap();
            assert_eq!(file.read(NOON).unwrap().taken_at, taken_at);
        }
    }

    #[test]
    fn the_cache_is_for_one_vault_namespace_and_database() {
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
            assert!(matches!(file.read(NOON), Err(CacheError::Foreign(_))));
            assert!(matches!(file.names(NOON), Err(CacheError::Foreign(_))));
        }
    }

    #[test]
    fn an_old_or_future_cache_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(&dir, &settings());
        file.write(&hosts(), NOON).unwrap();
        let second = SignedDuration::from_secs(1);
        assert!(file.read(NOON + OLDEST).is_ok());
        let late = file.read(NOON + OLDEST + second);
        assert!(matches!(late, Err(CacheError::TooOld(_))));
        assert!(file.read(NOON - SLACK).is_ok());
        let early = file.read(NOON - SLACK - second);
        assert!(matches!(early, Err(CacheError::FromTheFuture)));
    }

    #[test]
    fn a_damaged_or_foreign_version_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(&dir, &settings());
        file.write(&hosts(), NOON).unwrap();
        let text = fs::read_to_string(file.path()).unwrap();
        let newer = text.replacen("\"version\":1", "\"version\":2", 1);
        for text in ["", "{}", &text[..text.len() / 2], &newer] {
            fs::write(file.path(), text).unwrap();
            assert!(
                matches!(file.read(NOON), Err(CacheError::Damaged)),
                "{text}"
            );
        }
    }
}
