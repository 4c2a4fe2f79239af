//! The content of the files of an audit log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::SystemTime;

use super::super::model::{Place, Signature, Span};
use super::super::names::Names;

/// Maximum number of unreadable lines that are listed; all are counted.
const MOST_LISTED: usize = 20;

/// The files to read, and the SSH engines whose signatures count.
#[derive(Clone, Debug)]
pub(crate) struct LogQuery {
    pub(crate) files: Vec<PathBuf>,
    /// Mounts of our CAs, without a slash at the end.
    pub(crate) mounts: Vec<String>,
    /// Namespace of Vault; empty for the root.
    pub(crate) namespace: String,
    /// The time to compare. Hashed serials outside of it only limit the readable time.
    pub(crate) wanted: Span,
}

/// The content of one file.
#[derive(Clone, Debug)]
pub(crate) struct LogFile {
    pub(crate) name: String,
    pub(crate) lines: u64,
    pub(crate) entries: u64,
    /// Time of the first and the last entry.
    pub(crate) span: Option<Span>,
}

/// A line that is not an entry.
#[derive(Clone, Debug)]
pub(crate) struct Unreadable {
    pub(crate) place: Place,
    pub(crate) reason: String,
}

/// Signatures of which the log has only the hash of the serial.
#[derive(Clone, Debug)]
pub(crate) struct Hashed {
    pub(crate) count: u64,
    pub(crate) first: Place,
    pub(crate) last_at: SystemTime,
    pub(crate) mounts: BTreeSet<String>,
}

/// Everything that the comparison needs from the audit log.
#[derive(Debug, Default)]
pub(crate) struct AuditLog {
    pub(crate) files: Vec<LogFile>,
    pub(crate) names: Names,
    /// Ordered by serial.
    pub(crate) signatures: Vec<Signature>,
    /// Requests to sign that Vault refused.
    pub(crate) refused: u64,
    /// Requests to sign without a response in the log.
    pub(crate) unanswered: Vec<Signature>,
    pub(crate) hashed: Option<Hashed>,
    /// Time of the last hashed serial before the wanted time, and of the first one after it.
    pub(super) hashed_around: (Option<SystemTime>, Option<SystemTime>),
    /// Signatures of SSH engines that are not ours: number and first place, by mount.
    pub(crate) foreign: BTreeMap<String, (u64, Place)>,
    /// Accessors of our mounts. A mount has one, until it is created again.
    pub(crate) accessors: BTreeMap<String, BTreeSet<String>>,
    /// The first lines that are not entries.
    pub(crate) unreadable: Vec<Unreadable>,
    pub(crate) unreadable_count: u64,
    /// The last line of the newest file, if it is incomplete.
    pub(crate) cut_off: Option<Unreadable>,
    /// Signatures that were read again: from the file of another audit device, or from a file that was named twice.
    pub(crate) repeated: usize,
}

impl AuditLog {
    /// Returns the time from the first to the last entry; `None` if there are none.
    pub(crate) fn span(&self) -> Option<Span> {
        let spans = || self.files.iter().filter_map(|file| file.span);
        Some(Span {
            from: spans().map(|span| span.from).min()?,
            to: spans().map(|span| span.to).max()?,
        })
    }

    /// Returns the time whose serials are readable; `None` if there is none.
    pub(crate) fn readable_span(&self) -> Option<Span> {
        let span = self.span()?;
        let (before, after) = self.hashed_around;
        let readable = Span {
            from: before.unwrap_or(span.from),
            to: after.unwrap_or(span.to),
        };
        span.common(readable)
    }

    /// Returns `FILE:LINE`.
    pub(crate) fn place(&self, place: Place) -> String {
        let name = self.files.get(place.file).map_or("", |file| &file.name);
        format!("{name}:{}", place.line)
    }

    pub(crate) fn entries(&self) -> u64 {
        self.files.iter().map(|file| file.entries).sum()
    }

    pub(super) fn note_unreadable(&mut self, unreadable: Unreadable) {
        self.unreadable_count += 1;
        if self.unreadable.len() < MOST_LISTED {
            self.unreadable.push(unreadable);
        }
    }
}
