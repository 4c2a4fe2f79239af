//! The only writer of the spool. The format and its promises are in [`vctl_common::spool`].
//!
//! # Durability
//! `commit` passes a batch to the kernel: it survives `kill -9`. `sync` makes it survive a crash of the
//! machine; `commit_durable` does both, before an answer that depends on it. After a failed sync, the kernel
//! may have discarded the pages and would report success for the next try: the writer continues in a new
//! segment and reports the part that is not durable.
//!
//! # What is shipped
//! The shipper reads the files beside the writer, without a lock. It reads the newest segment only as far as it
//! is synced; the writer publishes that end ([`Durable`]). [`Position`] explains why a position in the spool
//! never changes its meaning.
//!
//! # What is dropped at the cap
//! A new segment begins with the open sessions. Room for it is made by dropping whole segments, never the
//! active one. Shipped segments go first. Then the largest session of the largest user gives way, oldest events
//! first, and the events of other sessions in the segment are copied ([`heavy`], [`trim`]). If no session is
//! large, the oldest segment without events of an open session goes, else the oldest. Before that, the active
//! segment durably receives, for each session that loses events, a gap with their number and sequence numbers,
//! and a copy of its journal. So `vctl session` still shows the person and the number of dropped events. A copy
//! whose session has no events left in any segment is not copied again, which bounds the copies.
//!
//! Shipped events are not lost. If a part of such a session stays here, a gap with the cause `Shipped` stands
//! for the rest; that gap is never shipped. If nothing stays, gap and journal go too. Shipped sessions that are
//! closed stay for a configured time, even if there is room for longer.
//!
//! Journals of sessions with events in other segments are copied too, and host-wide gaps as long as a segment
//! from before their end exists. Events of no session (`capture: all`) are only counted in [`Stats`]: a gap
//! without a session would make every session look incomplete.

mod error;
mod batch;
mod disk;
mod position;
mod active;
mod segment_state;
mod unclosed;
mod recover;
mod losses;
mod owner;
mod head;
mod heavy;
mod retain;
mod trim;
mod writer;
#[cfg(test)]
mod tests;

pub use batch::BatchBuilder;
pub use disk::{Disk, HostDisk};
pub use error::SpoolError;
pub(crate) use losses::join;
pub use owner::{Account, Owner};
pub use position::{Durable, Position, new_id, remember_shipped};
pub use recover::{OpenSession, Recovered};
pub use segment_state::SpoolConfig;
pub use writer::{SpoolWriter, Stats};
