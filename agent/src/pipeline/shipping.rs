//! Between the collector and the shipper: how far the spool may be shipped, and how far it is.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use tracing::{info, warn};
use vctl_common::status::Shipping;
use vctl_common::time::wall_now;

use crate::machine_id;
use crate::store::{Centre, ShipConfig, Shipper};

use super::collector::Collector;

/// How often old shipped sessions are looked for.
const EXPIRY: Duration = Duration::from_mins(10);

impl Collector {
    /// Begins to ship what is in the spool, and all that comes.
    pub(super) fn ship_to(&mut self, centre: Centre) -> anyhow::Result<()> {
        let shipped_before = self.numbers.counted.shipping.take();
        info!(
            host = %centre.host,
            vault = centre.settings.vault.addr,
            db = centre.settings.db.host,
            "What is recorded is shipped to the centre."
        );
        let config = ShipConfig {
            spool_dir: self.config.spool_dir.clone(),
            spool_id: self.writer.id(),
            boot_id: self.boot_id,
            machine: machine_id::read(Path::new("/")).unwrap_or_default(),
            shipped: self.writer.shipped(),
            events_shipped: shipped_before.map_or(0, |before| before.events_shipped),
            centre,
        };
        let shipper = Shipper::start(config, self.writer.durable());
        self.shipper = Some(shipper.context("cannot start the shipper")?);
        Ok(())
    }

    /// Tells the spool what may go without a loss.
    pub(super) fn note_shipped(&mut self) {
        let shipper = self.shipper.as_ref();
        if let Some(position) = shipper.and_then(|shipper| shipper.progress().shipped()) {
            self.writer.note_shipped(position);
        }
    }

    /// Drops sessions that were shipped long ago.
    pub(super) fn drop_expired(&mut self) {
        let due = self.expired_at.is_none_or(|at| at.elapsed() >= EXPIRY);
        if self.shipper.is_none() || !due {
            return;
        }
        self.expired_at = Some(Instant::now());
        let Some(before) = wall_now().checked_sub(self.config.centre.spool_keep.0) else {
            return;
        };
        if let Err(error) = self.writer.drop_expired(before) {
            warn!(%error, "Old spool segments could not be dropped.");
        }
    }

    pub(super) fn shipping(&self, backlog_bytes: u64) -> Option<Shipping> {
        let status = self.shipper.as_ref()?.progress().status();
        Some(Shipping {
            backlog_bytes,
            ..status
        })
    }
}
