//! `vctl dbedit`: one column of many hosts, as the tool of that name had it.

use std::io::Write as _;
use std::net::IpAddr;

use vctl_common::count::counted;
use vctl_common::pg::Client;

use crate::centre::context;
use crate::centre::globals::Globals;
use crate::completion;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::inventory;
use crate::inventory::change::{self, Change};
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, sanitize};

/// Change one thing about many hosts at once
///
/// One line for each: OK; MISS where there is no such host; ERR and why. Each is done whole or not at
/// all, whatever comes of the others; the exit status is 1 unless all are OK. `vctl edit`, `vctl delete`
/// for one host do the same.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl dbedit -col dc web-1=incheon web-2=incheon
  vctl dbedit -col ips web-1=10.0.0.7,10.0.0.8     Its further addresses; none with `web-1=`
  vctl dbedit -col del web-1 web-2")]
pub(crate) struct DbeditArgs {
    /// What to change; `-col` is the same
    #[arg(long = "col", value_enum, value_name = "WHAT")]
    column: Column,

    /// Whole names of hosts, each with what is to be so
    #[arg(required = true, value_name = "HOST=VALUE", value_parser = item, add = completion::host_and_value())]
    items: Vec<Item>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Column {
    /// The data centre
    Dc,
    /// Whom to log in as
    User,
    /// The name
    Name,
    /// Further addresses, with commas between
    Ips,
    /// Delete it
    Del,
}

#[derive(Clone, Debug)]
struct Item {
    host: String,
    value: Option<String>,
}

fn item(text: &str) -> Result<Item, String> {
    let (host, value) = match text.split_once('=') {
        Some((host, value)) => (host, Some(value.to_owned())),
        None => (text, None),
    };
    match host {
        "" => Err("there is no host before the `=`".to_owned()),
        host => Ok(Item {
            host: host.to_owned(),
            value,
        }),
    }
}

pub(crate) fn run(args: &DbeditArgs, globals: &Globals) -> Result<(), Stop> {
    // All of them are understood before the first is done.
    let edits: Result<Vec<_>, CliError> = args.items.iter().map(|item| args.edit(item)).collect();
    let edits = edits?;
    let failed = context::run(globals, async |context| {
        let mut client = super::to_change(context).await?;
        let mut screen = Screen::for_people();
        let mut failed = 0;
        for (host, edit) in &edits {
            let host = sanitize::text(host);
            match apply(&mut client, edit).await {
                Ok(()) => writeln!(screen, "OK    {host}")?,
                Err(Stop::Error(error)) if error.exit.ends_all() => return Err(error.into()),
                Err(Stop::Error(error)) => {
                    failed += 1;
                    let word = if error.exit == Exit::NotFound {
                        "MISS"
                    } else {
                        "ERR "
                    };
                    writeln!(screen, "{word}  {host}: {}", sanitize::text(error.message))?;
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

/// What is to be done with one host.
enum Edit {
    Change(String, Change),
    Delete(String),
}

async fn apply(client: &mut Client, edit: &Edit) -> Result<(), Stop> {
    match edit {
        Edit::Change(host, change) => inventory::store_edit::edit(client, host, change).await,
        Edit::Delete(host) => inventory::store_edit::delete(client, host).await,
    }
}

impl DbeditArgs {
    fn edit<'a>(&self, item: &'a Item) -> Result<(&'a str, Edit), CliError> {
        let host = &item.host;
        let value = item.value.as_deref();
        let wrong = |why: &str| CliError::new(Exit::Usage, format!("`{host}`: {why}"));
        let mut change = Change::default();
        match (self.column, value) {
            (Column::Del, None) => return Ok((host, Edit::Delete(host.clone()))),
            (Column::Del, Some(_)) => return Err(wrong("a host to delete has no value")),
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
                change.extra_ips =
                    Some(read.map_err(|_| wrong("this is not a list of IP addresses"))?);
            }
        }
        Ok((host, Edit::Change(host.clone(), change)))
    }
}
