//! Ships the spool to the central store, exactly once.
//!
//! ```text
//! spool ──reader──▶ chunk ──columns──▶ one call of ingest_v1 ──▶ the cursor moved, or it did not
//! ```
//!
//! With JetStream as the route, each chunk is one message instead ([`message`]), and `vctl-agent ingest`
//! makes the call.
//!
//! Shipping has its own thread, so capture never waits for the network. Records that are not
//! shipped stay in the spool; an outage costs disk and no memory. The centre's cursor is the
//! position to continue from. It moves in the transaction that stores the batch, so a lost answer
//! causes no loss and no duplicates. The meaning of a position never changes
//! ([`crate::spool::Position`]). If the cursor is not a position of this spool, the spool gets a
//! new id and is shipped again; the centre skips the records it has.
//!
//! A batch that is larger than a call may be is sent in parts, cut between two blocks. A position is then within a batch.
//! The writer cannot make such a batch smaller: the head of a segment and the copies of a trim are one batch, because
//! recovery after a crash must find all of it or nothing.
//!
//! The thread sleeps until the writer reports new records, then waits a moment for more. After some
//! time without records it closes its connection, so an idle host holds nothing at the centre.

mod chunk;
mod journal;
mod columns;
mod idle;
mod reader;
mod ingest;
mod connection;
mod end_request_poll;
mod batch_limits;
mod progress;
mod message;
mod publish;
mod publish_error;
mod remembered;
mod retry;
mod route;
mod secret_id;
mod secret_id_care;
mod start;
mod ship;
mod shipper;

pub(crate) use chunk::{Block, Chunk};
pub(crate) use ingest::{HostCursor, cursor_of_host, names_of_host, store_of_host, stored_at};
pub(crate) use message::{Message, MessageError, decode, spool_of};
pub use progress::Progress;
pub use route::{JetStream, Route, ShipConfig};
pub(crate) use secret_id::secret_id_expiry;
pub use shipper::Shipper;
