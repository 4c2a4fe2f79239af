//! `vctl sync`

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use tokio::net::lookup_host;
use vctl_common::centre::DbRole;
use vctl_common::pg::PgError;

use crate::centre::context;
use crate::centre::context::Context;
use crate::centre::globals::Globals;
use crate::commands::migrate;
use crate::config::Config;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::files::home;
use crate::inventory;
use crate::inventory::change::{self, data_centre};
use crate::inventory::sync;
use crate::inventory::sync::aliases;
use crate::inventory::sync::aliases::Aliases;
use crate::inventory::sync::{Asked, Candidate, Failure, FailureKind, Planned, Ssh};
use crate::inventory::{Host, order};
use crate::openssh::without_include::Before;
use crate::ui::columns::Columns;
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice, sanitize};

/// Fill the inventory from ~/.ssh/config, and probe the hosts
///
/// Each name of a `Host` line that has no wildcard becomes a host, with what `ssh -G` says of it. A host
/// is known by its name. Of one that is there already only its address, its port and when it was reached
/// change: the rest is its operators'. Hosts that are not in the file stay. `ssh -G` runs the commands of
/// `Match exec` to read a file, also with `--dry-run`: read a file of another author before you name it.
///
/// A host that cannot be a row by design (it has a `ProxyCommand`, or a name that the inventory does not take) is
/// left out with a note, and the exit status stays 0. Any other host that is not imported makes it 1.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl sync --dry-run              What would be done, and which hosts answer
  vctl sync --prefix sre           Only names that begin so, and what they are reached through
  vctl sync --config ./ssh_config  From another file")]
pub(crate) struct SyncArgs {
    /// Only names that begin like this, in capitals or not, and the hosts that they are reached through
    #[arg(long, value_name = "TEXT", default_value = "")]
    prefix: String,

    /// The ssh_config to read [default: ~/.ssh/config]; commands of its `Match exec` are run
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Bring the schema of the central store up to this version first: `vctl migrate`
    #[arg(long, conflicts_with = "dry_run")]
    migrate: bool,

    /// Change nothing here or in the inventory; print a line for each host
    #[arg(long)]
    dry_run: bool,
}

/// What became of the hosts.
#[derive(Default)]
struct Summary {
    added: usize,
    changed: usize,
    same: usize,
    reached: usize,
}

pub(crate) fn run(args: &SyncArgs, globals: &Globals) -> Result<(), Stop> {
    if args.migrate {
        migrate::bring_up(globals)?;
    }
    let config = globals.load()?.config;
    let (ssh, aliases, _before) = args.read()?;
    let (summary, failures, all) = context::run(globals, async |context| {
        let (candidates, mut failures) = candidates(&args.prefix, &ssh, &aliases).await;
        let (planned, unplanned) = sync::plan(candidates);
        failures.extend(unplanned);
        let all = planned.len() + failures.len();
        let addresses: Vec<SocketAddr> = planned
            .iter()
            .map(|host| SocketAddr::new(host.ip, host.port))
            .collect();
        let patience = config.sync_probe_timeout.0;
        let probed = sync::probe(&addresses, patience, config.sync_probe_concurrency).await;
        let summary = args
            .write(context, &config, &planned, &probed, &mut failures)
            .await?;
        Ok((summary, failures, all))
    })?;
    let reported = sync::report(&failures, all, args.dry_run);
    let Summary {
        added,
        changed,
        same,
        reached,
    } = summary;
    let would = if args.dry_run { "would be " } else { "" };
    notice::note(&format!(
        "{added} {would}added, {changed} {would}changed, {same} as before; {reached} of {} reached",
        added + changed + same
    ));
    Ok(reported?)
}

impl SyncArgs {
    fn read(&self) -> Result<(Ssh, Aliases, Option<Before>), CliError> {
        let home =
            home::dir().ok_or_else(|| CliError::new(Exit::Config, "there is no home directory"))?;
        let usual = || home.join(".ssh/config");
        let file = self.config.clone().unwrap_or_else(usual);
        let account = nix::unistd::User::from_uid(nix::unistd::getuid());
        let account = account.ok().flatten();
        // ssh goes by the account's home, whatever `HOME` says, and must not read another file than we.
        let is_home = account.as_ref().is_some_and(|account| account.dir == home);
        let with_systems = self.config.is_none() && is_home;
        let before = Before::of(&file, with_systems)?;
        let read = before.as_ref().map_or(&*file, Before::path);
        let aliases = aliases::read(read, &home).map_err(|error| {
            let message = format!(
                "cannot read `{}`",
                sanitize::text(file.display().to_string())
            );
            let exit = match error.kind() {
                io::ErrorKind::NotFound => Exit::NotFound,
                _ => Exit::Failure,
            };
            CliError::new(exit, message)
                .caused_by(&error)
                .hint("`vctl sync --config FILE` reads another; `vctl add` adds one host")
        })?;
        for (file, why) in &aliases.unread {
            let file = sanitize::text(file.display().to_string());
            notice::note(&format!("what `{file}` includes is left out: {why}"));
        }
        if self.config.is_some() {
            for file in &aliases.run_commands {
                notice::note(&format!(
                    "`{}` has `Match exec`: ssh runs its commands to read it",
                    file.display()
                ));
            }
        }
        let own = before.as_ref().map(|before| before.path().to_owned());
        let ssh = Ssh {
            config: own.or_else(|| (!with_systems).then_some(file)),
            local_user: account.map(|account| account.name).unwrap_or_default(),
            users: aliases.users.clone(),
        };
        Ok((ssh, aliases, before))
    }

    async fn write(
        &self,
        context: &Context,
        config: &Config,
        planned: &[Planned],
        probed: &[bool],
        failures: &mut Vec<Failure>,
    ) -> Result<Summary, Stop> {
        let client = if self.dry_run {
            context.connect(&context.pool(DbRole::Ro)?).await?
        } else {
            super::to_change(context).await?
        };
        let known = inventory::store::hosts(&client).await?;
        let known: BTreeMap<&str, &Host> = known.iter().map(|host| (&*host.name, host)).collect();
        let statement = if self.dry_run {
            None
        } else {
            Some(inventory::store_edit::prepare_sync(&client).await?)
        };
        let mut missing: BTreeMap<String, FailureKind> = failures
            .iter()
            .map(|failure| (failure.alias.to_lowercase(), failure.kind))
            .filter(|(name, _)| !known.contains_key(&**name))
            .collect();
        let mut summary = Summary::default();
        let mut rows = Vec::new();
        for (host, &answered) in planned.iter().zip(probed) {
            // Whatever is the matter with a jump host is the matter with the hosts behind it.
            if let Some(jump) = &host.jump
                && let Some(&kind) = missing.get(jump)
            {
                missing.insert(host.name.clone(), kind);
                failures.push(Failure {
                    alias: host.name.clone(),
                    why: format!("it is reached through `{jump}`, which is not imported"),
                    kind,
                });
                continue;
            }
            let dc = data_centre(config, host.ip);
            if let Some(statement) = &statement
                && let Err(error) =
                    inventory::store_edit::sync(&client, statement, host, &dc, config, answered)
                        .await
            {
                if error.is_closed() {
                    return Err(PgError::from(error).into());
                }
                failures.push(Failure {
                    alias: host.name.clone(),
                    why: error
                        .as_db_error()
                        .map_or_else(|| error.to_string(), |e| e.message().to_owned()),
                    kind: FailureKind::Failed,
                });
                missing.insert(host.name.clone(), FailureKind::Failed);
                continue;
            }
            let (count, word) = match known.get(&*host.name) {
                None => (&mut summary.added, "add"),
                Some(known) if (known.ip, known.ssh_port) == (host.ip, host.port) => {
                    (&mut summary.same, "keep")
                }
                Some(_) => (&mut summary.changed, "change"),
            };
            *count += 1;
            summary.reached += usize::from(answered);
            if self.dry_run {
                rows.push([
                    word.to_owned(),
                    host.name.clone(),
                    SocketAddr::new(host.ip, host.port).to_string(),
                    dc,
                    host.jump.clone().unwrap_or_else(|| "direct".to_owned()),
                    if answered { "up" } else { "down" }.to_owned(),
                ]);
            }
        }
        if !rows.is_empty() {
            let mut screen = Screen::for_people();
            let layout = screen.layout(false);
            PLAN.write(&mut screen, &rows, layout)?;
            screen.flush()?;
        }
        Ok(summary)
    }
}

/// What `--dry-run` prints.
const PLAN: Columns<6> = Columns {
    names: ["PLAN", "HOST", "ADDRESS", "DC", "JUMP", "SSH PORT"],
    elastic: &[1, 2, 3, 4],
    spare: &[],
};

/// At once so many are asked: each is a process.
const ASKED_AT_ONCE: usize = 16;

/// Asks ssh of every name that is wanted, and of what those are reached through.
async fn candidates(prefix: &str, ssh: &Ssh, aliases: &Aliases) -> (Vec<Candidate>, Vec<Failure>) {
    let prefix = prefix.to_lowercase();
    let wanted = |name: &&String| name.to_lowercase().starts_with(&prefix);
    let mut asking: Vec<String> = aliases.names.iter().filter(wanted).cloned().collect();
    let mut seen: BTreeSet<String> = asking.iter().cloned().collect();
    let (mut candidates, mut failures) = (Vec::new(), Vec::new());
    while !asking.is_empty() {
        let mut next = Vec::new();
        for names in asking.chunks(ASKED_AT_ONCE) {
            let mut answers = tokio::task::JoinSet::new();
            for name in names {
                let (ssh, name) = (ssh.clone(), name.clone());
                let is_listed = aliases.names.contains(&name);
                answers.spawn(async move { (candidate(&ssh, &name, is_listed).await, name) });
            }
            while let Some(answer) = answers.join_next().await {
                match answer {
                    Ok((Ok((candidate, jumps)), _)) => {
                        next.extend(jumps.into_iter().filter(|jump| seen.insert(jump.clone())));
                        candidates.push(candidate);
                    }
                    Ok((Err((kind, why)), alias)) => failures.push(Failure { alias, why, kind }),
                    Err(_) => {}
                }
            }
        }
        asking = next;
    }
    candidates.sort_by(|one: &Candidate, other| order::by_name(&one.alias, &other.alias));
    failures.sort_by(|one, other| order::by_name(&one.alias, &other.alias));
    (candidates, failures)
}

async fn candidate(
    ssh: &Ssh,
    name: &str,
    is_listed: bool,
) -> Result<(Candidate, Vec<String>), (FailureKind, String)> {
    let failed = |why| (FailureKind::Failed, why);
    // `ssh` refuses many of these names, with an error that looks like one of the file.
    change::name(&name.to_lowercase()).map_err(|why| (FailureKind::ByDesign, why))?;
    let asked = ssh.ask(name).await.map_err(failed)?;
    // Before its name is looked up: only the command may be able to.
    if asked.has_command {
        let why = "the inventory has no form for `ProxyCommand`".to_owned();
        return Err((FailureKind::ByDesign, why));
    }
    let ip = address(&asked).await.map_err(failed)?;
    let jumps: Vec<String> = asked.jumps.iter().map(|hop| hop.host.clone()).collect();
    Ok((
        Candidate {
            alias: name.to_owned(),
            ip,
            port: asked.port,
            user: asked.user,
            jumps: asked.jumps,
            is_listed,
        },
        jumps,
    ))
}

async fn address(asked: &Asked) -> Result<IpAddr, String> {
    if let Ok(ip) = asked.hostname.parse() {
        return Ok(ip);
    }
    let found = lookup_host((&*asked.hostname, asked.port)).await;
    let mut found =
        found.map_err(|error| format!("cannot look up `{}`: {error}", asked.hostname))?;
    let first = found.next();
    first
        .map(|address| address.ip().to_canonical())
        .ok_or_else(|| format!("`{}` has no address", asked.hostname))
}
