//! `vctl session export`

use crate::commands::export_args::{ExportOptions, Period};
use crate::completion;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::export::session_feed::SessionFeed;
use crate::session::model::Filter;
use crate::session::model::program_filter::{Ending, ProgramFilter};
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
  vctl session export --failed --root                 Failed programs of root
  vctl session export | jq -c .process.args           For programs")]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    options: ExportOptions,

    /// Only sessions of this person: `albert`, or the full display name `oidc-albert`
    #[arg(long, value_name = "NAME", add = completion::person())]
    user: Option<String>,

    /// Only programs of this path: `/usr/bin/*`, or a name in any directory: `passwd`. `*` is any text, `?`
    /// one byte. Openings and ends of sessions are always exported
    #[arg(long, value_name = "GLOB")]
    path: Option<String>,

    /// Only programs that ended with this exit status
    #[arg(long, value_name = "STATUS", conflicts_with = "failed")]
    exit: Option<u8>,

    /// Only programs that failed: exit status not 0, ended by a signal, or not started
    #[arg(long)]
    failed: bool,

    /// Only programs that ran as root
    #[arg(long)]
    root: bool,
}

pub(super) fn run(args: &ExportArgs, globals: &Globals) -> Result<(), Stop> {
    if args.path.as_deref() == Some("") {
        let error = CliError::new(Exit::Usage, "`--path` is empty");
        let hint = "`vctl session export` without it sends all programs";
        return Err(error.hint(hint).into());
    }
    let programs = ProgramFilter::new(
        args.path.as_deref(),
        Ending::of_options(args.exit, args.failed),
        args.root,
    );
    let more = [
        ("user", args.user.clone()),
        ("path", args.path.clone()),
        ("exit", args.exit.map(|status| status.to_string())),
        ("failed", args.failed.then(String::new)),
        ("root", args.root.then(String::new)),
    ];
    args.options
        .run(globals, more, |store, Period { since, until }, position| {
            let filter = Filter {
                host: args.options.host.clone(),
                user: args.user.clone(),
                since,
                until,
            };
            SessionFeed::new(store, filter, programs, position)
        })
}
