//! Options of the commands that export to a SIEM, and the start of an export.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::builder::PossibleValue;
use serde::de::DeserializeOwned;

use crate::centre::context;
use crate::centre::context::Context;
use crate::completion;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::export::checkpoint::{Checkpoint, Selection};
use crate::export::feed::{Export, Feed, selection};
use crate::export::otlp::Receiver;
use crate::export::sink::{ExportSink, Sink};
use crate::session::centre::Store;
use crate::ui::moment::Moment;
use crate::ui::{moment, time};

/// The options of each export.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportOptions {
    /// Wait for new events until Ctrl-C
    #[arg(long, short)]
    follow: bool,

    /// Continue from the position in this file, and write the position there after each batch. A new
    /// file begins with everything that is selected
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,

    /// Send OpenTelemetry logs to this OTLP/HTTP receiver instead of writing lines. Headers:
    /// environment variable OTEL_EXPORTER_OTLP_HEADERS
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,

    /// Only hosts with this text in their present or a former name
    #[arg(long, add = completion::host())]
    pub(crate) host: Option<String>,

    #[arg(long, value_name = "TIME",
        help = format!("Only sessions or connections that began at this time or later: {}", moment::FORMS))]
    since: Option<Moment>,

    /// Only sessions or connections that began before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,

    /// Output format
    #[arg(long, short, value_name = "FORMAT", default_value = "jsonl",
        value_parser = [PossibleValue::new("jsonl").help("One JSON object a line")])]
    output: String,
}

/// The times of an export. Those of the first start stay in force: an age such as `2h` is another time at each start.
#[derive(Clone, Copy)]
pub(crate) struct Period {
    pub(crate) since: Option<SystemTime>,
    pub(crate) until: Option<SystemTime>,
}

/// A checkpoint, and the position that it had.
struct Start<C> {
    checkpoint: Option<Checkpoint>,
    /// The database and the position in it; `None` for a new export.
    position: Option<(String, C)>,
    /// The options of the first start.
    selection: Selection,
    period: Period,
}

impl ExportOptions {
    /// Exports what `feed` reads. It gets the store, the times and the position of the checkpoint. `more` has the
    /// options that only this command has.
    pub(crate) fn run<F, const N: usize>(
        &self,
        globals: &Globals,
        more: [(&str, Option<String>); N],
        feed: impl FnOnce(Store, Period, Option<(String, F::Cursor)>) -> F,
    ) -> Result<(), Stop>
    where
        F: Feed<Cursor: DeserializeOwned>,
        ExportSink: Sink<F::Item>,
    {
        let time = |moment: Option<Moment>| moment.map(|Moment(at)| time::nanos(at));
        let mut given = selection([
            ("host", self.host.clone()),
            ("since", time(self.since)),
            ("until", time(self.until)),
        ]);
        given.extend(selection(more));
        let start: Start<F::Cursor> = self.start(F::EXPORT, given)?;
        // After the checkpoint's lock: the output may be the file of another export that runs.
        let sink = match &self.otlp {
            Some(url) => ExportSink::Otlp(Receiver::new(url, self.follow)?),
            None => ExportSink::lines()?,
        };
        context::run(globals, async |context: &Context| {
            let store = Store::new(context)?;
            if let (Some(checkpoint), Some((stored, _))) = (&start.checkpoint, &start.position)
                && *stored != store.id().await?
            {
                return Err(checkpoint.of_another_store().into());
            }
            let export = Export {
                sink,
                checkpoint: start.checkpoint,
                selection: start.selection,
                follow: self.follow,
            };
            export.run(feed(store, start.period, start.position)).await
        })
    }

    /// Reads the checkpoint, and compares its options with `given`.
    ///
    /// # Errors
    /// The checkpoint cannot be used.
    fn start<C: DeserializeOwned>(
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
            let time = |moment: Option<Moment>| moment.map(|Moment(at)| at);
            return Ok(Start {
                checkpoint,
                position: None,
                selection: given,
                period: Period {
                    since: time(self.since),
                    until: time(self.until),
                },
            });
        };
        let names = stored.selection.keys().chain(given.keys());
        for name in names.filter(|name| !TIMES.contains(&name.as_str())) {
            let (stored, given) = (stored.selection.get(name), given.get(name));
            if stored != given {
                return Err(file.of_another_selection(name, stored, given));
            }
        }
        let [since, until] = TIMES.map(|name| file.time_of(&stored.selection, name));
        Ok(Start {
            position: Some((stored.store, stored.cursor)),
            period: Period {
                since: since?,
                until: until?,
            },
            selection: stored.selection,
            checkpoint,
        })
    }
}

const TIMES: [&str; 2] = ["since", "until"];
