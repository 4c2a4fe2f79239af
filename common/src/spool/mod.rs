//! The spool: the agent's own store, and the only store of a host that works alone.
//!
//! The agent appends and `vctl` reads, without a lock; neither waits for the other.
//!
//! SQLite and redb were considered: a reader would need their locks, and damage to one page can
//! cost more than one block.
//!
//! # Invariants
//! - A batch is stored completely or not at all. The writer removes an incomplete batch when it
//!   opens the spool; a reader that meets it before that skips it.
//! - Data is used only if its checksum is right. A reader returns what was written, or reports what
//!   it could not read ([`GapCause::SpoolDamaged`]).
//! - Argv that a user chose cannot imitate a batch: the magic number of batches is random for each
//!   segment, and the file's mode is 0600.
//! - The table of a batch is in the segment and in its index, so one damaged place costs at most
//!   its block.
//! - A segment is dropped only if the owner of each session stays known while events of it are
//!   left.
//!
//! # On disk
//! A directory (0700) of segments `<number>.seg`, each with its index `<number>.idx` (0600); the
//! number has 16 hex digits. All blocks of a segment are of one boot. All integers are little
//! endian, except inside the wire records, which stay as the kernel wrote them.
//!
//! ```text
//! segment  FileHeader batch batch ...
//! batch    BatchHeader BlockEntry*blocks payload*blocks
//! index    FileHeader BlockEntry ...                    the tables of all batches, one after another
//! payload  kind events:  wire records, each as long as its header says, as `event::decode` takes them
//!          kind journal: one `JournalEntry` as JSON per line
//! ```
//!
//! A block belongs to one session. Its entry holds its location, its position in its batch, and the
//! order of entries, so an index shows by itself that no block is missing from it. If the index is
//! short, damaged or missing, the tables in the segment are used instead.
//!
//! A lookup reads the indexes (88 bytes per block), filters them, and then reads only the blocks it
//! needs.
//!
//! [`GapCause::SpoolDamaged`]: crate::session::GapCause::SpoolDamaged

mod header;
mod block;
mod journal;
mod dir;
mod error;
mod scan;
mod segment;
mod record;
mod reader;
mod timeline;
mod completeness;
mod follow;

pub use block::{
    BatchHeader, BlockEntry, BlockFacts, BlockKind, BlockPlace, RingPosition, table_check,
    table_check_from,
};
pub use completeness::{Completeness, MissingRange, completeness, counted};
pub use dir::{DirError, Listing, SegmentFiles, list};
pub use error::SpoolReadError;
pub use follow::{Followed, Follower};
pub use header::{FileHeader, FileKind, HeaderError, VERSION};
pub use journal::{JournalLine, journal_lines, write_journal_line};
pub use reader::{Filter, SpoolReader};
pub use record::{Kept, Nameless, SessionRecord};
pub use segment::{Look, Segment, Unloaded, payload};
pub use timeline::{StoredEvent, Timeline, records};
