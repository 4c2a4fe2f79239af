//! The position at which a shipper continues in the spool.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use tracing::warn;
use vctl_common::spool::{SpoolReadError, list};

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

/// Returns whether the spool may have dropped records between the cursor and a position that was shipped before. The cursor
/// is then of a Postgres that was restored from a backup: a cursor never moves back otherwise.
pub(super) fn is_dropped_between(
    dir: &Path,
    cursor: Position,
    shipped: Option<Position>,
) -> Result<bool, SpoolReadError> {
    let Some(shipped) = shipped
        .filter(|shipped| (shipped.segment, shipped.offset) > (cursor.segment, cursor.offset))
    else {
        return Ok(false);
    };
    let here: HashSet<u64> = list(dir)?
        .segments
        .iter()
        .map(|files| files.number)
        .collect();
    Ok((cursor.segment..=shipped.segment).any(|number| !here.contains(&number)))
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
