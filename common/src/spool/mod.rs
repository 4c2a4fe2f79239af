//! The spool: what the agent wrote down, and the only store of a host that works alone.
//!
//! The agent appends, `vctl` reads; neither waits for the other and there is no lock between them.
//!
//! # Invariants
//! - A batch is there whole or not at all. One that was cut short is taken away by the writer when
//!   it opens the spool, and passed over by a reader that meets it before.
//! - Nothing is believed without its checksum. A reader returns what was written or says what it
//!   could not read ([`GapCause::SpoolDamaged`]), never something else.
//! - What a user put into argv cannot pose as a batch: the magic number of batches is random for
//!   each segment and never leaves the 0600 file.
//! - The table of a batch is in the segment and again in its index, so that one damaged place
//!   costs at most the block it lies in.
//! - Dropping a segment never takes away who a session belongs to while events of it are left.
//!
//! # On disk
//! A directory (0700) of segments `<number>.seg`, each with its index `<number>.idx` (0600), the
//! number in 16 hex digits. A segment is of one boot. All integers are little endian, except inside
//! the wire records, which stay as the kernel wrote them.
//!
//! ```text
//! segment  FileHeader batch batch ...
//! batch    BatchHeader BlockEntry*blocks payload*blocks
//! index    FileHeader BlockEntry ...                    the tables of all batches, one after another
//! payload  kind events:  wire records, each as long as its header says, as `event::decode` takes them
//!          kind journal: one `JournalEntry` as JSON per line
//! ```
//!
//! A block belongs to one session. Its entry says where it lies, its place in its batch, and what
//! must follow on what, so an index proves by itself that no block is missing from it. When it is
//! short, damaged or gone, the tables in the segment take its place.
//!
//! A lookup reads the indexes (88 bytes per block), filters them, and then only the blocks it wants.
//!
//! [`GapCause::SpoolDamaged`]: crate::session::GapCause::SpoolDamaged

mod header;
mod block;
mod journal;
mod dir;
mod scan;
mod segment;
mod record;
mod reader;
mod timeline;
mod completeness;
mod follow;

pub use block::{
    BatchHeader, BlockEntry, BlockFacts, BlockKind, BlockPlace, RingPosition, table_check,
};
pub use completeness::{Completeness, MissingRange, completeness, counted};
pub use dir::{DirError, Listing, SegmentFiles, list};
pub use follow::{Followed, Follower};
pub use header::{FileHeader, FileKind, HeaderError, VERSION};
pub use journal::{JournalLine, journal_lines, write_journal_line};
pub use reader::{Filter, SpoolReadError, SpoolReader};
pub use record::{Kept, Nameless, SessionRecord};
pub use segment::{Look, Segment, Unloaded, payload};
pub use timeline::{StoredEvent, Timeline, records};
