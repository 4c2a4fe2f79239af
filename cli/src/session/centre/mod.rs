//! Sessions in the central store.
//!
//! The only module that knows these tables. It returns the types of `session::model`. Each query is a `.sql` file
//! beside the one function that runs it.

pub(crate) mod events;
mod follow;
mod grep;
mod row;
mod running;
pub(crate) mod sessions;
mod source;
mod reported;

use vctl_common::centre::DbRole;
use vctl_common::pg::tokio_postgres::{self, IsolationLevel, Transaction};
use vctl_common::pg::{Client, PgError, Pool};

use crate::centre::context::Context;
use crate::error::Stop;
use crate::inventory::cache::RecentFile;
use crate::ui::notice;

pub(crate) use follow::Follow;
#[cfg(test)]
pub(crate) use row::UnreadableReason;
pub(crate) use row::{StoredSession, Unreadable};

/// The central store, opened with the role that may read the audit data and nothing else.
pub(crate) struct Store {
    pool: Pool,
    /// Notes for the reader about rows that were skipped or cut.
    pub(crate) notes: Vec<String>,
    /// Number of rows that matched and could not be read.
    unreadable_rows: usize,
    /// The names that lists show, for completion.
    pub(crate) recent: RecentFile,
}

impl Store {
    pub(crate) fn new(context: &Context) -> Result<Self, Stop> {
        Ok(Self::with_pool(context, context.pool(DbRole::AuditRo)?))
    }

    /// Returns the store through an existing pool of the role `AuditRo`.
    pub(crate) fn with_pool(context: &Context, pool: Pool) -> Self {
        Self {
            pool,
            notes: Vec::new(),
            unreadable_rows: 0,
            recent: RecentFile::in_dir(context.state(), context.settings()),
        }
    }

    /// Returns, and forgets, the notes about the data that was read since the last call.
    pub(crate) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Notes a row that cannot be read. One such row must not make the whole list fail, and must not vanish silently.
    fn note_unreadable(&mut self, unreadable: &row::Unreadable) {
        self.unreadable_rows += 1;
        self.notes.push(format!("left out: {unreadable}"));
    }

    pub(crate) async fn client(&self) -> Result<Client, Stop> {
        Ok(notice::waiting(self.pool.get()).await?)
    }
}

/// Starts a transaction that reads the store as it is now.
pub(crate) async fn snapshot(client: &mut Client) -> Result<Transaction<'_>, Stop> {
    let client: &mut tokio_postgres::Client = client;
    let transaction = client
        .build_transaction()
        .read_only(true)
        .isolation_level(IsolationLevel::RepeatableRead)
        .start();
    transaction.await.map_err(failed)
}

pub(crate) fn failed(error: tokio_postgres::Error) -> Stop {
    PgError::from(error).into()
}
