//! Undoes the changes of a lab on the machine, whatever ends the lab.
//!
//! Each change is written down before it is made. The entries are undone, last first, when the lab is dropped
//! (also after a panic) and on Ctrl-C. After a `kill -9` the next lab finds a journal without a lock and undoes it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

use super::account;
use super::undo::Undo;

/// The directory survives a reboot, as the accounts and the files in `/etc` do.
const JOURNALS: &str = "/var/lib/vctl-lab";
/// Locked by a process that undoes the journals of dead labs.
///
/// The lock of a journal does not tell such a process from a living lab. So a second process would go on and make
/// what the first one is about to remove.
const REPAIR: &str = "/run/vctl-lab-repair.lock";

/// Changes of one lab. Each is on disk before it is made.
pub struct Journal {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    /// Locked as long as the lab lives.
    file: File,
    entries: Vec<Undo>,
}

impl Journal {
    /// Opens the journal of a new lab, after undoing the journals of dead labs.
    pub fn open(id: &str) -> Result<Arc<Self>> {
        repair()?;
        let turn = account::lock()?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(JOURNALS)
            .context("cannot make the directory of lab journals")?;
        let path = Path::new(JOURNALS).join(format!("{id}.journal"));
        // Locked before it gets its name, because a lab that starts now must not see it as the journal of a dead lab.
        let unnamed = path.with_extension("new");
        let file = OpenOptions::new()
            .create_new(true)
            .append(true)
            .mode(0o600)
            .open(&unnamed)
            .with_context(|| format!("cannot create `{}`", unnamed.display()))?;
        file.lock()?;
        fs::rename(&unnamed, &path)?;
        let journal = Arc::new(Self {
            path,
            state: Mutex::new(State {
                file,
                entries: Vec::new(),
            }),
        });
        // Released before the registration, because the signal handler takes this lock for each registered journal.
        drop(turn);
        super::interrupt::watch(&journal);
        Ok(journal)
    }

    /// Writes down how to undo a change that is about to be made.
    pub fn before(&self, undo: Undo) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = serde_json::to_vec(&undo)?;
        line.push(b'\n');
        state.file.write_all(&line)?;
        state.file.sync_data()?;
        state.entries.push(undo);
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Undoes everything, last first, and returns what could not be undone.
    ///
    /// A second call does nothing.
    pub fn undo(&self) -> Vec<anyhow::Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = std::mem::take(&mut state.entries);
        let failures = undo_all(&entries);
        // With this lock the directory is not removed while another lab opens its journal in it.
        let _turn = account::lock();
        // The file is removed last, because its existence means that there may be changes to undo.
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_dir(JOURNALS);
        failures
    }
}

/// Waits until no process holds the journal in `path`, and then undoes the remaining changes.
///
/// # Errors
/// When the journal cannot be read. Changes that cannot be undone are reported.
pub fn undo_when_its_owner_is_gone(path: &Path) -> Result<()> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        file => file.with_context(|| format!("cannot open `{}`", path.display()))?,
    };
    // Waits for the owner. The lock of repairs comes before that of a journal, as in `repair`.
    file.lock()?;
    file.unlock()?;
    let _repair = account::lock_file(REPAIR)?;
    file.lock()?;
    // An owner that ended normally, or a repair, has undone the journal and removed its name.
    if path.exists() {
        for failure in undo_all(&read(&file)) {
            super::say(&format!("{failure:#}"));
        }
        let _turn = account::lock();
        let _ = fs::remove_file(path);
        let _ = fs::remove_dir(JOURNALS);
    }
    Ok(())
}

/// Undoes the journals of dead labs, and waits while another process does so.
///
/// # Errors
/// When a journal cannot be read. Changes that cannot be undone are reported.
pub fn repair() -> Result<()> {
    let _repair = account::lock_file(REPAIR)?;
    let Ok(journals) = fs::read_dir(JOURNALS) else {
        return Ok(());
    };
    for entry in journals {
        let path = entry?.path();
        if path
            .extension()
            .is_none_or(|extension| extension != "journal")
        {
            continue;
        }
        // A lab may end and remove its journal meanwhile.
        let Ok(file) = File::open(&path) else {
            continue;
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        for failure in undo_all(&read(&file)) {
            super::say(&format!("repair: {failure:#}"));
        }
        let _ = fs::remove_file(&path);
    }
    Ok(())
}

/// Reads the entries of a journal. The change in an incomplete last line was never made.
fn read(file: &File) -> Vec<Undo> {
    let lines = BufReader::new(file).lines();
    let entries = lines.map_while(|line| serde_json::from_str(&line.ok()?).ok());
    entries.collect()
}

fn undo_all(entries: &[Undo]) -> Vec<anyhow::Error> {
    let undone = entries.iter().rev().map(Undo::undo);
    undone.filter_map(Result::err).collect()
}
