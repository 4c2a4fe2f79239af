//! The loop of an export: read a batch, send it, write the checkpoint.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;
use vctl_common::backoff::Backoff;

use super::checkpoint::{Checkpoint, Selection};
use super::ecs::Record;
use super::sink::Sink;
use crate::centre::outage::Outage;
use crate::error::Stop;
use crate::ui::notice;

/// Hosts send a busy session's events about this often.
const POLL: Duration = Duration::from_secs(1);
/// Pauses while the central store cannot be read.
const AWAY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Interval between two writes of a position that moves on without events.
const IDLE_WRITE: Duration = Duration::from_secs(30);
/// Maximum number of records in a batch; the rows that were read together may exceed it.
const MOST_RECORDS: usize = 1_000;
/// Maximum size of the text in a batch, with the same exception. A program may have 128 KiB of arguments.
const MOST_BYTES: usize = 8 << 20;
/// Maximum number of events that a batch reads and that do not match, so that a transaction stays short.
const MOST_SKIPPED: usize = 20_000;

/// Events that are sent together.
pub(crate) struct Batch<T> {
    pub(crate) records: Vec<T>,
    /// Nothing more is stored now.
    pub(crate) is_last: bool,
    /// Size of the text, if the feed counts it.
    bytes: usize,
    skipped: usize,
}

impl Batch<Record> {
    pub(crate) fn push(&mut self, record: Record) {
        self.bytes += record.text_bytes();
        self.records.push(record);
    }

    /// Counts an event that does not match.
    pub(crate) fn skip(&mut self) {
        self.skipped += 1;
    }

    /// Returns whether the batch must be sent before more is read.
    pub(crate) fn is_full(&self) -> bool {
        self.records.len() >= MOST_RECORDS
            || self.bytes >= MOST_BYTES
            || self.skipped >= MOST_SKIPPED
    }
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            is_last: false,
            bytes: 0,
            skipped: 0,
        }
    }
}

/// A source of events in the central store.
pub(crate) trait Feed {
    type Item;
    type Cursor: Serialize;
    /// The kind of export, in the checkpoint.
    const EXPORT: &'static str;

    /// Reads the next batch, and moves the position behind it. After an error the position is unchanged.
    async fn next(&mut self) -> Result<Batch<Self::Item>, Stop>;

    /// Returns the database and the position, once a batch was read.
    fn position(&self) -> Option<(&str, &Self::Cursor)>;

    /// Returns, and forgets, the notes about the data that was read since the last call.
    fn take_notes(&mut self) -> Vec<String>;
}

/// Where the events go, and how long the export runs.
pub(crate) struct Export<S> {
    pub(crate) sink: S,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) selection: Selection,
    /// Whether to wait for new events.
    pub(crate) follow: bool,
}

impl<S> Export<S> {
    /// Sends all events of `feed`; with `follow`, until the command is stopped.
    pub(crate) async fn run<F: Feed>(mut self, mut feed: F) -> Result<(), Stop>
    where
        S: Sink<F::Item>,
    {
        let mut outage = Outage::default();
        let mut away = Backoff::new(AWAY.0, AWAY.1);
        let mut written: Option<Instant> = None;
        loop {
            let batch = match feed.next().await {
                Ok(batch) => batch,
                Err(stop) if self.follow => {
                    outage.begin(stop, "the export")?;
                    tokio::time::sleep(away.next_pause()).await;
                    continue;
                }
                Err(stop) => return Err(stop),
            };
            away.reset();
            outage.end();
            for note in feed.take_notes() {
                notice::note(&note);
            }
            let is_empty = batch.records.is_empty();
            if !is_empty {
                self.sink.send(&batch.records).await?;
            }
            let is_end = batch.is_last && !self.follow;
            let is_due = written.is_none_or(|written| written.elapsed() >= IDLE_WRITE);
            if !is_empty || is_end || is_due {
                self.write(&feed)?;
                written = Some(Instant::now());
            }
            if is_end {
                return Ok(());
            }
            if batch.is_last {
                tokio::time::sleep(POLL).await;
            }
        }
    }

    fn write<F: Feed>(&self, feed: &F) -> Result<(), Stop> {
        if let (Some(checkpoint), Some((store, cursor))) = (&self.checkpoint, feed.position()) {
            checkpoint.write(F::EXPORT, store, &self.selection, cursor)?;
        }
        Ok(())
    }
}

/// Returns the selection without the options that were not given.
pub(crate) fn selection<const N: usize>(options: [(&str, Option<String>); N]) -> Selection {
    let given = options
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    given.collect::<BTreeMap<_, _>>()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use serde_json::json;

    use super::super::ecs::{Kind, Severity};
    use super::*;

    fn record(arguments: &[&str]) -> Record {
        let kind = Kind {
            id: String::new(),
            action: "exec",
            category: "process",
            phase: "start",
            outcome: None,
            dataset: "vctl.session",
            severity: Severity::Event,
        };
        Record::new(
            kind,
            UNIX_EPOCH,
            json!({ "process": { "args": arguments } }),
        )
    }

    #[test]
    fn a_batch_is_bounded_in_records_bytes_and_read_events() {
        let mut batch = Batch::default();
        for _ in 1..MOST_RECORDS {
            batch.push(record(&["x"]));
        }
        assert!(!batch.is_full());
        batch.push(record(&["x"]));
        assert!(batch.is_full());
        let mut batch = Batch::default();
        let half = "x".repeat(MOST_BYTES / 2);
        batch.push(record(&["x", &half]));
        assert!(!batch.is_full());
        batch.push(record(&["x", &half]));
        assert!(batch.is_full());
        let mut batch = Batch::<Record>::default();
        (1..MOST_SKIPPED).for_each(|_| batch.skip());
        assert!(!batch.is_full());
        batch.skip();
        assert!(batch.is_full());
    }
}
