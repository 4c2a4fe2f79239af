//! What the central store holds: sessions, accesses, hosts, what is kept.
//!
//! The only module that knows its tables: what leaves it are the types of `session::model`. Each query is a
//! `.sql` file beside the one function that runs it.

mod events;
mod follow;
mod grep;
mod row;
pub(crate) mod sessions;
mod source;
mod told;

use vctl_common::centre::DbRole;
use vctl_common::pg::tokio_postgres::{self, IsolationLevel, Transaction};
use vctl_common::pg::{Client, PgError, Pool};

use crate::centre::context::Context;
use crate::error::Stop;
use crate::inventory::cache::RecentFile;
use crate::ui::notice;

pub(crate) use follow::Follow;
pub(crate) use row::Found;

/// The central store, for who may read the audit and nothing else.
pub(crate) struct Store {
    pool: Pool,
    /// What the reader should know besides.
    pub(crate) notes: Vec<String>,
    /// Rows that matched and could not be read.
    left_out: usize,
    /// The names that lists show, for completion.
    pub(crate) recent: RecentFile,
}

impl Store {
    pub(crate) fn new(context: &Context) -> Result<Self, Stop> {
        Ok(Self {
            pool: context.pool(DbRole::AuditRo)?,
            notes: Vec::new(),
            left_out: 0,
            recent: RecentFile::in_dir(context.state(), context.settings()),
        })
    }

    /// Returns what else is to be said of what was read since the last call.
    pub(crate) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// One host must not be able to hide the sessions of all others, nor its own without a word.
    fn leave_out(&mut self, unreadable: &row::Unreadable) {
        self.left_out += 1;
        self.notes.push(format!("left out: {unreadable}"));
    }

    pub(crate) async fn client(&self) -> Result<Client, Stop> {
        Ok(notice::waiting(self.pool.get()).await?)
    }
}

/// Begins to read the store as it is at one moment.
pub(crate) async fn snapshot(client: &mut Client) -> Result<Transaction<'_>, Stop> {
    let client: &mut tokio_postgres::Client = client;
    let transaction = client
        .build_transaction()
        .read_only(true)
        .isolation_level(IsolationLevel::RepeatableRead)
        .start();
    let transaction = transaction.await.map_err(failed)?;
    // The values decide which conditions and partitions are left; a generic plan keeps them all. And
    // what takes longer than this is a question too large for anybody to wait for.
    let settings =
        "set local plan_cache_mode = force_custom_plan; set local statement_timeout = '2min'";
    transaction.batch_execute(settings).await.map_err(failed)?;
    Ok(transaction)
}

pub(crate) fn failed(error: tokio_postgres::Error) -> Stop {
    PgError::from(error).into()
}
