//! `vctl audit export`, and `vctl audit --follow`

use std::net::IpAddr;

use crate::audit;
use crate::audit::model::AccessFilter;
use crate::audit::table;
use crate::commands::export_args::{ExportOptions, Period};
use crate::completion;
use crate::config::globals::Globals;
use crate::error::Stop;
use crate::export::access_feed::{AccessChange, AccessFeed};
use crate::export::feed::{Export, selection};
use crate::export::sink::Sink;
use crate::session::centre::Store;
use crate::ui::format::OutputFormat;
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, records};

/// Send the access log to a SIEM, with the field names of ECS
///
/// Writes one JSON object a line for the beginning of each access, and one for its end. Reads the central
/// store, which needs a login and the Vault policy `vctl-auditor`. With a checkpoint, a restart continues
/// behind the last batch that was written. docs/export.md lists the fields.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl audit export --since 1d                      Print the last day
  vctl audit export --follow --checkpoint siem.pos  Print accesses as they come
  vctl audit export --follow --checkpoint siem.pos \\
      --otlp https://collector:4318                 Send them by OTLP")]
pub(crate) struct AccessExportArgs {
    #[command(flatten)]
    options: ExportOptions,

    /// Only people with this text in their display name
    #[arg(long, value_name = "NAME", add = completion::person())]
    user: Option<String>,

    /// Only connections from this address
    #[arg(long, value_name = "IP")]
    source_ip: Option<IpAddr>,

    /// Only connections that failed or were refused. vctl sends the event for the beginning of such a connection
    /// only if it arrives together with the event for the end
    #[arg(long)]
    failed: bool,
}

pub(super) fn run(args: &AccessExportArgs, globals: &Globals) -> Result<(), Stop> {
    let more = [
        ("user", args.user.clone()),
        ("source-ip", args.source_ip.map(|ip| ip.to_string())),
        ("failed", args.failed.then(String::new)),
    ];
    args.options
        .run(globals, more, |store, Period { since, until }, position| {
            let filter = AccessFilter {
                host: args.options.host.clone(),
                user: args.user.clone(),
                source_ip: args.source_ip,
                since,
                until,
                failed: args.failed,
            };
            AccessFeed::new(store, filter, position, true)
        })
}

/// Writes the accesses that match as they arrive; with a `since`, the stored ones first.
pub(super) async fn follow(
    filter: AccessFilter,
    format: OutputFormat,
    store: Store,
) -> Result<(), Stop> {
    let with_past = filter.since.is_some();
    let export = Export {
        sink: Changes {
            screen: Screen::for_format(format),
            format,
        },
        checkpoint: None,
        selection: selection([]),
        follow: true,
    };
    export
        .run(AccessFeed::new(store, filter, None, with_past))
        .await
}

/// Standard output for `vctl audit --follow`.
struct Changes {
    screen: Screen,
    format: OutputFormat,
}

impl Sink<AccessChange> for Changes {
    async fn send(&mut self, changes: &[AccessChange]) -> Result<(), Stop> {
        for AccessChange { access, is_end, .. } in changes {
            if self.format.is_for_people() {
                table::write_change(&mut self.screen, access, *is_end)?;
            } else {
                let access = std::slice::from_ref(access);
                // One object a line, as with `-o jsonl`.
                let lines = OutputFormat::Jsonl;
                records::write(&mut self.screen, lines, &audit::json::Accesses, access)?;
            }
        }
        // The reader waits for these lines.
        std::io::Write::flush(&mut self.screen)?;
        Ok(())
    }
}
