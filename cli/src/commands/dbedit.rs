//! `vctl dbedit`: changes one column of many hosts, like the older tool of that name.

use std::io::Write as _;
use std::net::IpAddr;

use vctl_common::count::counted;
use vctl_common::pg::Client;

use super::inventory_change;
use crate::centre::context::{self, Context};
use crate::completion;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::inventory;
use crate::inventory::change::{self, HostChange};
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice, sanitize};

/// Change one column of many hosts
///
/// Prints one line for each host: OK, MISS (the host does not exist), or ERR and the reason. vctl changes
/// each host in its own transaction. The exit status is 1 unless all are OK. For a single host, use
/// `vctl edit` or `vctl delete`.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl dbedit -col dc web-1=incheon web-2=incheon
  vctl dbedit -col ips web-1=10.0.0.7,10.0.0.8    Set additional addresses
  vctl dbedit -col ips web-1=                     Remove them
  vctl dbedit -col del web-1 web-2")]
pub(crate) struct DbeditArgs {
    /// Column to change; also accepted as `-col`
    #[arg(long = "col", value_enum, value_name = "COLUMN")]
    column: Column,

    /// Exact names of hosts, each with its new value
    #[arg(required = true, value_name = "HOST=VALUE", value_parser = item, add = completion::host_and_value())]
    items: Vec<HostValue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Column {
    /// Data centre
    Dc,
    /// User to log in as
    User,
    /// Name of the host
    Name,
    /// Additional addresses, separated by commas
    Ips,
    /// Delete the host
    Del,
}

#[derive(Clone, Debug)]
struct HostValue {
    host: String,
    value: Option<String>,
}

fn item(text: &str) -> Result<HostValue, String> {
    let (host, value) = match text.split_once('=') {
        Some((host, value)) => (host, Some(value.to_owned())),
        None => (text, None),
    };
    match host {
        "" => Err("the host before `=` is missing".to_owned()),
        host => Ok(HostValue {
            host: host.to_owned(),
            value,
        }),
    }
}

pub(crate) fn run(args: &DbeditArgs, globals: &Globals) -> Result<(), Stop> {
    // All arguments are checked before the first change.
    let edits: Result<Vec<_>, CliError> = args.items.iter().map(|item| args.edit(item)).collect();
    let edits = edits?;
    let failed = context::run(globals, async |context| {
        let mut client = inventory_change::connect_for_changes(context).await?;
        let mut screen = Screen::for_people();
        let mut failed = 0;
        for (host, edit) in &edits {
            let host = sanitize::text(host);
            match apply(context, &mut client, edit).await {
                Ok(renamed) => {
                    writeln!(screen, "OK    {host}")?;
                    if let Some(notice) = renamed {
                        notice::note(&notice);
                    }
                }
                Err(Stop::Error(error)) if error.exit.aborts_batch() => return Err(error.into()),
                Err(Stop::Error(error)) => {
                    failed += 1;
                    let word = if error.exit == Exit::NotFound {
                        "MISS"
                    } else {
                        "ERR "
                    };
                    writeln!(
                        screen,
                        "{word}  {host}: {}",
                        sanitize::text(error.one_line())
                    )?;
                }
                Err(stop) => return Err(stop),
            }
        }
        screen.flush()?;
        Ok(failed)
    })?;
    match failed {
        0 => Ok(()),
        failed => {
            let message = format!(
                "{failed} of {} not changed",
                counted(args.items.len(), "host")
            );
            Err(CliError::new(Exit::Failure, message).into())
        }
    }
}

/// A change of one host.
enum HostEdit {
    Change(String, HostChange),
    Delete(String),
}

/// Returns the notice of a new name.
async fn apply(
    context: &Context,
    client: &mut Client,
    edit: &HostEdit,
) -> Result<Option<String>, Stop> {
    match edit {
        HostEdit::Change(host, change) => {
            inventory_change::change_host(context, client, host, change).await
        }
        HostEdit::Delete(host) => {
            inventory::store_edit::delete(client, host).await?;
            Ok(None)
        }
    }
}

impl DbeditArgs {
    fn edit<'a>(&self, item: &'a HostValue) -> Result<(&'a str, HostEdit), CliError> {
        let host = &item.host;
        let value = item.value.as_deref();
        let wrong = |why: &str| CliError::new(Exit::Usage, format!("`{host}`: {why}"));
        let mut change = HostChange::default();
        match (self.column, value) {
            (Column::Del, None) => return Ok((host, HostEdit::Delete(host.clone()))),
            (Column::Del, Some(_)) => return Err(wrong("`-col del` takes no value")),
            (_, None) => return Err(wrong("`=VALUE` is missing")),
            (Column::Dc, Some(dc)) => change.dc = Some(dc.to_owned()),
            (Column::User, Some("")) => return Err(wrong("the user name is empty")),
            (Column::User, Some(user)) => change.ssh_user = Some(user.to_owned()),
            (Column::Name, Some(name)) => {
                change.name = Some(change::name(name).map_err(|why| wrong(&why))?);
            }
            (Column::Ips, Some(ips)) => {
                let ips = ips.split(',').filter(|ip| !ip.is_empty());
                let read: Result<Vec<IpAddr>, _> = ips.map(str::parse).collect();
                change.extra_ips = Some(read.map_err(|_| wrong("not a list of IP addresses"))?);
            }
        }
        Ok((host, HostEdit::Change(host.clone(), change)))
    }
}
