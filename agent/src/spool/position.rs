//! The durable end of the spool, and the shipped one.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vctl_common::atomic_file::{Durability, NewFile, Unfinished, unfinished_name};

/// File with the spool's id.
pub(super) const ID_FILE: &str = "spool.id";
/// File with a position that has been shipped for certain.
pub(super) const SHIPPED_FILE: &str = "shipped.json";

/// A place between two batches. The content before it never changes:
///
/// - numbers of segments only grow, and the name of a segment is durable before its first write;
/// - the newest segment is shipped only as far as it is synced, and is truncated only behind that end;
/// - after a power cut nothing is appended to it: a segment continues only within its boot.
///
/// None of this covers a spool that was restored from a copy. `check` does: it depends on the content, so a
/// position of another history of this spool is not mistaken for one of this history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    pub segment: u64,
    /// End of a batch.
    pub offset: u64,
    /// `spool::table_check` of that batch; 0 where there is none, or it was damaged.
    pub check: u32,
}

impl Position {
    /// Everything before `end` of this segment, with any content at the end.
    pub fn includes(self, segment: u64, end: u64) -> bool {
        (segment, end) <= (self.segment, self.offset)
    }
}

/// The earlier segments, and this one up to `end`, are synced or never will be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durable {
    pub segment: u64,
    pub end: u64,
}

/// Returns the spool's id, and makes one for a spool that has none.
pub(super) fn id(dir: &Path) -> io::Result<Uuid> {
    match fs::read_to_string(dir.join(ID_FILE)) {
        Ok(text) => {
            if let Ok(id) = Uuid::try_parse(text.trim()) {
                return Ok(id);
            }
            // Its bytes were lost: with a new id the spool is shipped once more, and nothing is stored twice.
            new_id(dir)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => new_id(dir),
        Err(error) => Err(error),
    }
}

/// Gives the spool a new id: the centre then needs all of it again.
pub fn new_id(dir: &Path) -> io::Result<Uuid> {
    // Random, not version 7: two copies of a machine may start at the same time.
    let id = Uuid::from_u64_pair(random()?, random()?);
    let id = uuid::Builder::from_bytes(*id.as_bytes())
        .with_version(uuid::Version::Random)
        .with_variant(uuid::Variant::RFC4122)
        .into_uuid();
    replace(dir, ID_FILE, format!("{id}\n").as_bytes())?;
    Ok(id)
}

fn random() -> io::Result<u64> {
    use std::io::Read as _;
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// The shipped position that was last saved.
#[derive(Debug, Serialize, Deserialize)]
struct Shipped {
    spool: Uuid,
    #[serde(flatten)]
    position: Position,
}

/// Returns the position up to which this spool has been shipped, at least.
///
/// Only retention relies on it, so a missing or broken file counts as nothing. The centre decides where
/// shipping continues.
pub(super) fn shipped(dir: &Path, spool: Uuid) -> Option<Position> {
    let text = fs::read(dir.join(SHIPPED_FILE)).ok()?;
    let shipped: Shipped = serde_json::from_slice(&text).ok()?;
    (shipped.spool == spool).then_some(shipped.position)
}

/// Saves the position up to which this spool has been shipped.
pub fn remember_shipped(dir: &Path, spool: Uuid, position: Position) -> io::Result<()> {
    let text = serde_json::to_vec(&Shipped { spool, position }).map_err(io::Error::other)?;
    replace(dir, SHIPPED_FILE, &text)
}

/// Replaces a file: it has the old or the new content, also after a power cut.
fn replace(dir: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    NewFile::private(Durability::Synced, Unfinished::OneName)
        .replace(&dir.join(name), |out| out.write_all(content))
}

/// Returns whether a file in the spool's directory is one of these, also an unfinished one.
pub(super) fn is_ours(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    [ID_FILE, SHIPPED_FILE].into_iter().any(|ours| {
        // Earlier agents named the unfinished file without the dot.
        name == ours || name.strip_suffix(".new") == Some(ours) || name == unfinished_name(ours)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_stays_and_a_wiped_spool_gets_another() {
        let dir = tempfile::tempdir().unwrap();
        let first = id(dir.path()).unwrap();
        assert_eq!(id(dir.path()).unwrap(), first);
        fs::remove_file(dir.path().join(ID_FILE)).unwrap();
        assert_ne!(id(dir.path()).unwrap(), first);
    }

    #[test]
    fn what_was_shipped_of_another_spool_counts_as_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let position = Position {
            segment: 7,
            offset: 4096,
            check: 5,
        };
        let (mine, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert_eq!(shipped(dir.path(), mine), None);
        remember_shipped(dir.path(), mine, position).unwrap();
        assert_eq!(shipped(dir.path(), mine), Some(position));
        assert_eq!(shipped(dir.path(), other), None);
        fs::write(dir.path().join(SHIPPED_FILE), "{").unwrap();
        assert_eq!(shipped(dir.path(), mine), None);
    }

    #[test]
    fn an_unfinished_file_of_a_crash_is_one_of_ours() {
        for name in [
            "spool.id",
            "shipped.json",
            ".spool.id.new",
            "shipped.json.new",
        ] {
            assert!(is_ours(Path::new(name)), "{name}");
        }
        for name in ["spool", "spool.id.old", ".spool.id", "other.new"] {
            assert!(!is_ours(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn a_position_includes_what_ends_at_it_and_no_byte_more() {
        let position = Position {
            segment: 3,
            offset: 100,
            check: 1,
        };
        assert!(position.includes(2, u64::MAX) && position.includes(3, 100));
        assert!(!position.includes(3, 101) && !position.includes(4, 0));
    }
}
