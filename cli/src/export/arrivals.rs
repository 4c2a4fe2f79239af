//! Order of arrival in the central store, by transaction ids, and the identity of the store.
//!
//! The position is the oldest transaction that ran at the last poll. The next poll reads the rows of this transaction
//! and of all later ones, so a batch that commits late is not skipped.

use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vctl_common::pg::tokio_postgres::Transaction;

use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::session::centre::{Store, failed, snapshot};

/// The oldest transaction that may still store something new, and the time of the first poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Arrivals {
    #[serde(with = "number_as_text")]
    pub(crate) oldest: u64,
    /// The database's clock when the export began.
    pub(crate) began: Timestamp,
}

impl Arrivals {
    /// Returns this position after a poll that saw `polled`.
    ///
    /// # Errors
    /// The database was restored: its transactions are older than those that were already seen.
    pub(crate) fn moved_to(self, polled: Self) -> Result<Self, CliError> {
        if polled.oldest < self.oldest {
            let message = "the central store was restored: its transactions are older than the position of the export";
            let hint = "remove the checkpoint and export again with `--since`; the receiver can drop repeated events by \
                        `event.id`";
            return Err(CliError::new(Exit::Config, message).hint(hint));
        }
        Ok(Self {
            began: self.began,
            ..polled
        })
    }
}

/// Returns the position of a poll in this transaction.
pub(crate) async fn read_arrivals(transaction: &Transaction<'_>) -> Result<Arrivals, Stop> {
    let query = "select pg_snapshot_xmin(pg_current_snapshot())::text, now()";
    let row = transaction.query_one(query, &[]).await.map_err(failed)?;
    let began: SystemTime = row.get(1);
    Ok(Arrivals {
        oldest: transaction_id(row.get(0)).unwrap_or_default(),
        began: Timestamp::try_from(began).unwrap_or_default(),
    })
}

/// Returns the identity of the database: the cluster's identifier, and the database's own number.
pub(crate) async fn store_id(transaction: &Transaction<'_>) -> Result<String, Stop> {
    let query = "select s.system_identifier::text || '.' || d.oid::text \
                 from pg_control_system() s, pg_database d where d.datname = current_database()";
    let row = transaction.query_one(query, &[]).await.map_err(failed)?;
    Ok(row.get(0))
}

impl Store {
    /// Returns the identity of the database, to compare with that of a checkpoint.
    pub(crate) async fn id(&self) -> Result<String, Stop> {
        let mut client = self.client().await?;
        store_id(&snapshot(&mut client).await?).await
    }
}

/// Converts a transaction's id, which the driver cannot read as a number.
pub(crate) fn transaction_id(text: Option<&str>) -> Option<u64> {
    text?.parse().ok()
}

/// 64-bit numbers are text in JSON: some readers store numbers as doubles.
mod number_as_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    pub(super) fn serialize<S: Serializer>(number: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(de::Error::custom)
    }
}
