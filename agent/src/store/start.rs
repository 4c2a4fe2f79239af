//! The position at which a shipper continues in the spool.

use std::io;

use tracing::warn;
use vctl_common::spool::SpoolReadError;

use super::progress::Progress;
use super::reader::{Reader, Sought};
use super::route::ShipConfig;
use crate::spool::{Durable, Position, new_id};

/// The shipper cannot begin. All records are in the spool.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("cannot read the spool")]
    Spool(#[from] SpoolReadError),
    #[error("cannot assign another id to the spool")]
    NewId(#[source] io::Error),
}

/// Reports the spool and the events that earlier agents of this boot shipped.
pub(super) fn announce(config: &ShipConfig, progress: &Progress) {
    progress.tell(|shipping| {
        shipping.spool_id = Some(config.spool_id);
        shipping.events_shipped = config.events_shipped;
    });
}

/// Moves the reader to a position, and returns it. A spool without that position is not the one that was shipped: it gets
/// a new id, and is shipped from its beginning.
pub(super) fn go_on_at(
    mut position: Position,
    durable: Durable,
    reader: &mut Reader,
    config: &mut ShipConfig,
    progress: &Progress,
) -> Result<Position, StartError> {
    if reader.seek(position, durable)? == Sought::Elsewhere {
        let spool = new_id(&config.spool_dir).map_err(StartError::NewId)?;
        warn!(
            cursor_segment = position.segment,
            cursor_offset = position.offset,
            newest_segment = durable.segment,
            %spool,
            "This spool is not the one that was shipped (deleted, or restored from a copy). It gets a new id and is \
             shipped again; the centre skips the records it has."
        );
        config.spool_id = spool;
        progress.tell(|shipping| shipping.spool_id = Some(spool));
        position = Position::default();
        reader.seek(position, durable)?;
    }
    progress.set_shipped(position);
    Ok(position)
}
