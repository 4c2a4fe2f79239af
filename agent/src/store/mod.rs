//! From the spool to the central store, exactly once.
//!
//! ```text
//! spool ──tail──▶ chunk ──columns──▶ one call of ingest_v1 ──▶ the cursor moved, or it did not
//! ```
//!
//! A thread of its own: capture never waits for the network, and what it does not ship stays in the
//! spool, so an outage costs disk and no memory. The centre's cursor says where to go on; it moves in
//! the transaction that stores the batch, so an answer that was lost is found there. What a position
//! in the spool means never changes ([`crate::spool::Position`]); when the cursor is no position of
//! this spool, the spool gets another id and is shipped once more, and the centre skips what it has.
//!
//! It sleeps until the writer tells of something new, waits a moment for more, and gives its
//! connection back when nothing has come for a while: an idle host holds nothing at the centre.

mod chunk;
mod journal;
mod columns;
mod hold;
mod tail;
mod enrolled;
mod ingest;
mod link;
mod pace;
mod progress;
mod secret_id;
mod ship;

pub use enrolled::enrolment;
pub use link::Centre;
pub use progress::Progress;
pub use ship::{ShipConfig, Shipper};
pub use vctl_common::vault::secret_id::{SecretIdError, open_wrapped};
