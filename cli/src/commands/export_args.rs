//! Options of the commands that export to a SIEM.

use std::path::PathBuf;

use serde::de::DeserializeOwned;

use crate::error::{CliError, Stop};
use crate::export::checkpoint::{Checkpoint, Selection};
use crate::export::otlp::Receiver;
use crate::export::sink::ExportSink;
use crate::session::centre::Store;
use crate::ui::moment::Moment;

/// Where an export goes, and from where it continues.
#[derive(Debug, clap::Args)]
pub(crate) struct TargetArgs {
    /// Continue from the position in this file, and write the position there after each batch. A new
    /// file begins with everything that is selected
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Option<PathBuf>,

    /// Send OpenTelemetry logs to this OTLP/HTTP receiver instead of writing lines. Headers:
    /// environment variable OTEL_EXPORTER_OTLP_HEADERS
    #[arg(long, value_name = "URL")]
    pub(crate) otlp: Option<String>,
}

/// A checkpoint, and the position that it had.
pub(crate) struct Start<C> {
    pub(crate) checkpoint: Option<Checkpoint>,
    /// The database and the position in it; `None` for a new export.
    pub(crate) position: Option<(String, C)>,
    /// The options of the first start.
    pub(crate) selection: Selection,
}

impl<C> Start<C> {
    /// Checks that the checkpoint belongs to this database.
    pub(crate) async fn of_store(self, store: &Store) -> Result<Self, Stop> {
        if let (Some(checkpoint), Some((stored, _))) = (&self.checkpoint, &self.position)
            && *stored != store.id().await?
        {
            return Err(checkpoint.of_another_store().into());
        }
        Ok(self)
    }
}

impl TargetArgs {
    pub(crate) fn sink(&self, follow: bool) -> Result<ExportSink, Stop> {
        Ok(match &self.otlp {
            Some(url) => ExportSink::Otlp(Receiver::new(url, follow)?),
            None => ExportSink::lines()?,
        })
    }

    /// Reads the checkpoint, and compares its options with `given`. The times of the first start stay in force: an age
    /// such as `2h` is another time at each start.
    ///
    /// # Errors
    /// The checkpoint cannot be used.
    pub(crate) fn start<C: DeserializeOwned>(
        &self,
        export: &str,
        given: Selection,
    ) -> Result<Start<C>, CliError> {
        let checkpoint = self.checkpoint.as_deref().map(Checkpoint::open);
        let checkpoint = checkpoint.transpose()?;
        let stored = match &checkpoint {
            Some(checkpoint) => checkpoint
                .read::<C>(export)?
                .map(|stored| (checkpoint, stored)),
            None => None,
        };
        let Some((file, stored)) = stored else {
            return Ok(Start {
                checkpoint,
                position: None,
                selection: given,
            });
        };
        let names = stored.selection.keys().chain(given.keys());
        for name in names.filter(|name| !TIMES.contains(&name.as_str())) {
            let (stored, given) = (stored.selection.get(name), given.get(name));
            if stored != given {
                return Err(file.of_another_selection(name, stored, given));
            }
        }
        Ok(Start {
            position: Some((stored.store, stored.cursor)),
            selection: stored.selection,
            checkpoint,
        })
    }
}

const TIMES: [&str; 2] = ["since", "until"];

/// Returns a time of the selection.
pub(crate) fn time_of(selection: &Selection, name: &str) -> Option<std::time::SystemTime> {
    let moment: Moment = selection.get(name)?.parse().ok()?;
    Some(moment.0)
}
