//! The one writer of the spool. Its format, and what it promises, is in [`vctl_common::spool`].
//!
//! # Durability
//! `commit` hands a batch to the kernel: it survives `kill -9`. `sync` makes it survive the machine;
//! `commit_durable` does both, for what must be on disk before somebody is answered. When syncing
//! fails, the kernel may have thrown the pages away and would call the next try a success: the
//! writer goes on in a new segment and says what it could not make durable.
//!
//! # What is shipped
//! The shipper reads the files beside the writer and takes no lock. From the newest segment it takes
//! only what is synced, which the writer tells it ([`Durable`]); [`Position`] says why no place in
//! the spool then ever means other bytes than those it was shipped with.
//!
//! # What goes at the cap
//! A new segment begins with who every open session is. Room for it is made by dropping whole
//! segments, never the one being written. What was shipped goes first. Then the largest session of
//! the largest user gives way, its oldest events first, and what the segment holds of others is
//! copied ([`heavy`], [`trim`]). Where none is large, the oldest segment with no event of an open
//! session goes, else the oldest. First, and durably, the live segment gets for each session that loses events a gap
//! with their number and sequence numbers, and a copy of its journal. So `vctl session` still says
//! who it was and how many events were dropped. A copy whose session has no events left anywhere
//! goes for good when the segment it lies in is dropped; that bounds them.
//!
//! Nothing is lost with what was shipped. When more of such a session is left here, a gap with the
//! cause `Shipped` stands for the rest; it is never shipped itself. When nothing is left, neither are
//! gap and journal. Shipped sessions that are over stay for a set time, whatever room there is.
//!
//! Journals are copied, too, of sessions with events in other segments, and host-wide gaps as long
//! as a segment from before their end is left. Events of no session (`capture: all`) are counted in
//! [`Stats`]: a gap without a session would make every session look incomplete.

mod error;
mod batch;
mod disk;
mod position;
mod active;
mod recover;
mod losses;
mod owner;
mod heavy;
mod retain;
mod trim;
mod writer;
#[cfg(test)]
mod tests;

pub use batch::BatchBuilder;
pub use disk::{Disk, HostDisk};
pub use error::SpoolError;
pub use owner::{Account, Owner};
pub use position::{Durable, Position, new_id, remember_shipped};
pub use recover::{OpenSession, Recovered};
pub use writer::{SpoolConfig, SpoolWriter, Stats};
