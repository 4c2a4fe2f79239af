//! `vctl session export`

use clap::builder::PossibleValue;

use crate::centre::context;
use crate::centre::context::Context;
use crate::centre::globals::Globals;
use crate::commands::export_args::{Start, TargetArgs, time_of};
use crate::completion;
use crate::error::Stop;
use crate::export::feed::{Export, Feed as _, selection};
use crate::export::session_feed::SessionFeed;
use crate::session::centre::Store;
use crate::session::model::Filter;
use crate::ui::help::TEMPLATE;
use crate::ui::moment::Moment;
use crate::ui::{moment, time};

/// Send sessions and their events to a SIEM, with the field names of ECS
///
/// Writes one JSON object a line for each event: opening and end of a session, program, exit, gap. Reads
/// the central store, which needs a login and the Vault policy `vctl-auditor`. With a checkpoint, a restart
/// continues behind the last batch that was written. docs/export.md lists the fields.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl session export --since 1d                      Print the last day
  vctl session export --follow --checkpoint siem.pos  Print events as they come
  vctl session export --follow --checkpoint siem.pos \\
      --otlp https://collector:4318                   Send them by OTLP
  vctl session export | jq -c .process.args           For programs")]
pub(crate) struct ExportArgs {
    /// Wait for new events until Ctrl-C
    #[arg(long, short)]
    follow: bool,

    #[command(flatten)]
    target: TargetArgs,

    /// Only sessions on hosts with this text in their name
    #[arg(long, add = completion::host())]
    host: Option<String>,

    /// Only sessions of this person: `albert`, or the full display name `oidc-albert`
    #[arg(long, value_name = "NAME", add = completion::person())]
    user: Option<String>,

    #[arg(long, value_name = "TIME", help = format!("Only sessions opened at this time or later: {}", moment::FORMS))]
    since: Option<Moment>,

    /// Only sessions opened before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,

    /// Output format
    #[arg(long, short, value_name = "FORMAT", default_value = "jsonl",
        value_parser = [PossibleValue::new("jsonl").help("One JSON object a line")])]
    output: String,
}

pub(super) fn run(args: &ExportArgs, globals: &Globals) -> Result<(), Stop> {
    let text = |moment: Option<Moment>| moment.map(|Moment(at)| time::nanos(at));
    let given = selection([
        ("host", args.host.clone()),
        ("user", args.user.clone()),
        ("since", text(args.since)),
        ("until", text(args.until)),
    ]);
    let sink = args.target.sink(args.follow)?;
    let start = args.target.start(SessionFeed::EXPORT, given)?;
    context::run(globals, async |context: &Context| {
        let store = Store::new(context)?;
        let filter = Filter {
            host: args.host.clone(),
            user: args.user.clone(),
            since: time_of(&start.selection, "since"),
            until: time_of(&start.selection, "until"),
        };
        let Start {
            checkpoint,
            position,
            selection,
        } = start.of_store(&store).await?;
        let export = Export {
            sink,
            checkpoint,
            selection,
            follow: args.follow,
        };
        export.run(SessionFeed::new(store, filter, position)).await
    })
}
