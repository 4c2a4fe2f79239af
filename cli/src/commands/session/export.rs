//! `vctl session export`

use crate::centre::globals::Globals;
use crate::commands::export_args::{ExportOptions, Period};
use crate::completion;
use crate::error::Stop;
use crate::export::session_feed::SessionFeed;
use crate::session::model::Filter;
use crate::ui::help::TEMPLATE;

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
    #[command(flatten)]
    options: ExportOptions,

    /// Only sessions of this person: `albert`, or the full display name `oidc-albert`
    #[arg(long, value_name = "NAME", add = completion::person())]
    user: Option<String>,
}

pub(super) fn run(args: &ExportArgs, globals: &Globals) -> Result<(), Stop> {
    let more = [("user", args.user.clone())];
    args.options
        .run(globals, more, |store, Period { since, until }, position| {
            let filter = Filter {
                host: args.options.host.clone(),
                user: args.user.clone(),
                since,
                until,
            };
            SessionFeed::new(store, filter, position)
        })
}
