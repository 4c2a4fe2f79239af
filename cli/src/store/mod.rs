//! Sessions and accesses from the central store.
//!
//! The only module that knows its tables: what leaves it are the types of `view`. Each query is a
//! `.sql` file beside the one function that runs it.

mod events;
mod follow;
mod grep;
mod row;
mod sessions;

use tokio::runtime::Runtime;
use tokio_postgres::{Client, IsolationLevel, Transaction};

use crate::error::CliError;
use crate::exit_code::Exit;

pub(crate) use follow::Follow;
pub(crate) use row::Found;

/// The central store, through one connection that may read the audit and nothing else.
pub(crate) struct Store {
    runtime: Runtime,
    client: Client,
    /// What the reader should know besides.
    notes: Vec<String>,
}

impl Store {
    pub(crate) fn new(runtime: Runtime, client: Client) -> Result<Self, CliError> {
        // Statements are run with values that decide which conditions and partitions are left; a
        // generic plan would keep all of them. A query that takes longer than this is a mistake.
        let settings = "set plan_cache_mode = force_custom_plan; set statement_timeout = '120s'";
        let done = runtime.block_on(client.batch_execute(settings));
        done.map_err(failed)?;
        Ok(Self {
            runtime,
            client,
            notes: Vec::new(),
        })
    }

    /// Returns what else is to be said of what was read since the last call.
    pub(crate) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

/// Begins to read the store as it is at one moment.
async fn snapshot(client: &mut Client) -> Result<Transaction<'_>, CliError> {
    let transaction = client
        .build_transaction()
        .read_only(true)
        .isolation_level(IsolationLevel::RepeatableRead);
    transaction.start().await.map_err(failed)
}

fn failed(error: tokio_postgres::Error) -> CliError {
    CliError::new(Exit::Failure, "cannot read the central store").caused_by(&error)
}
