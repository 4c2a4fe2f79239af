//! `vctl sync`

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use tokio::net::lookup_host;
use vctl_common::centre::DbRole;
use vctl_common::pg::{Client, PgError};

use super::inventory_change;
use crate::centre::context;
use crate::centre::context::Context;
use crate::commands::migrate;
use crate::config::Config;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::files::home;
use crate::inventory;
use crate::inventory::change::{self, data_centre};
use crate::inventory::sync;
use crate::inventory::sync::aliases;
use crate::inventory::sync::aliases::Aliases;
use crate::inventory::sync::{
    Candidate, DryRun, FailureKind, ImportFailure, ImportOutcome, PlannedHost, Ssh, SshSettings,
};
use crate::inventory::{Host, order};
use crate::openssh::without_include::ConfigWithoutInclude;
use crate::rbac;
use crate::rbac::command::GatedCommand;
use crate::ui::help::TEMPLATE;
use crate::ui::notice;

/// Import hosts from ~/.ssh/config, and test their SSH ports
///
/// Each name of a `Host` line without wildcards becomes a host, with the settings that `ssh -G` prints for
/// it. For existing hosts, sync updates only address, port and the time of the last successful test. Hosts
/// that are not in the file stay. `ssh -G` runs the commands of `Match exec`, also with `--dry-run`: read
/// a file from another author before you import it.
///
/// Some hosts cannot be in the inventory: a host with a `ProxyCommand`, or a name with other characters.
/// sync skips these with a note, and still exits with status 0. If any other host is not imported, the exit
/// status is 1.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl sync --dry-run               Show the changes, and which hosts answer
  vctl sync --prefix sre            Import names that begin with `sre`
  vctl sync --config ./ssh_config   Import another file")]
pub(crate) struct SyncArgs {
    /// Only names that begin with TEXT (case-insensitive), and their jump hosts
    #[arg(long, value_name = "TEXT", default_value = "")]
    prefix: String,

    /// ssh_config to read, which may run commands (`Match exec`) [default: ~/.ssh/config]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Update the database schema first, as `vctl migrate` does
    #[arg(long, conflicts_with = "dry_run")]
    migrate: bool,

    /// Change nothing, and print a line for each host
    #[arg(long)]
    dry_run: bool,
}

/// Counts of hosts, by result.
#[derive(Default)]
struct Summary {
    added: usize,
    changed: usize,
    same: usize,
    reached: usize,
}

impl Summary {
    fn count(&mut self, outcome: ImportOutcome, answered: bool) {
        *match outcome {
            ImportOutcome::Added => &mut self.added,
            ImportOutcome::Changed => &mut self.changed,
            ImportOutcome::Unchanged => &mut self.same,
        } += 1;
        self.reached += usize::from(answered);
    }
}

pub(crate) fn run(args: &SyncArgs, globals: &Globals) -> Result<(), Stop> {
    if args.migrate {
        migrate::apply_all(globals)?;
    }
    let config = globals.load()?.config;
    let (ssh, aliases, _before) = args.read()?;
    let (summary, failures, all) = context::run(globals, async |context| {
        let client = args.connect(context).await?;
        let grants = rbac::lookup::of_client(context, &client).await;
        rbac::gate::require(context, GatedCommand::Sync, None, grants).await?;
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
            .write(&client, &config, &planned, &probed, &mut failures)
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
        "{added} {would}added, {changed} {would}changed, {same} unchanged; {reached} of {} reached",
        added + changed + same
    ));
    Ok(reported?)
}

impl SyncArgs {
    fn read(&self) -> Result<(Ssh, Aliases, Option<ConfigWithoutInclude>), CliError> {
        let home =
            home::dir().ok_or_else(|| CliError::new(Exit::Config, "there is no home directory"))?;
        let usual = || home.join(".ssh/config");
        let file = self.config.clone().unwrap_or_else(usual);
        let account = nix::unistd::User::from_uid(nix::unistd::getuid());
        let account = account.ok().flatten();
        // ssh uses the home of the account and ignores `HOME`; both must read the same file.
        let is_home = account.as_ref().is_some_and(|account| account.dir == home);
        let with_systems = self.config.is_none() && is_home;
        let before = ConfigWithoutInclude::of(&file, with_systems)?;
        let read = before.as_ref().map_or(&*file, ConfigWithoutInclude::path);
        let aliases = aliases::read(read, &home).map_err(|error| {
            let message = format!("cannot read `{}`", file.display());
            let exit = match error.kind() {
                io::ErrorKind::NotFound => Exit::NotFound,
                _ => Exit::Failure,
            };
            CliError::new(exit, message)
                .caused_by(&error)
                .hint("use `vctl sync --config FILE` for another file, or `vctl add` for one host")
        })?;
        for (file, why) in &aliases.unread {
            let file = file.display();
            notice::note(&format!("skipped an include of `{file}`: {why}"));
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

    async fn connect(&self, context: &Context) -> Result<Client, Stop> {
        if self.dry_run {
            return context.connect_as(DbRole::Ro).await;
        }
        inventory_change::connect_for_changes(context).await
    }

    async fn write(
        &self,
        client: &Client,
        config: &Config,
        planned: &[PlannedHost],
        probed: &[bool],
        failures: &mut Vec<ImportFailure>,
    ) -> Result<Summary, Stop> {
        let known = inventory::store::hosts(client).await?;
        let known: BTreeMap<&str, &Host> = known.iter().map(|host| (&*host.name, host)).collect();
        let statement = if self.dry_run {
            None
        } else {
            Some(inventory::store_edit::prepare_sync(client).await?)
        };
        let mut missing: BTreeMap<String, FailureKind> = failures
            .iter()
            .map(|failure| (failure.alias.to_lowercase(), failure.kind))
            .filter(|(name, _)| !known.contains_key(&**name))
            .collect();
        let mut summary = Summary::default();
        let mut table = DryRun::default();
        for (host, &answered) in planned.iter().zip(probed) {
            if let Some(failure) = ImportFailure::of_missing_jump(host, &missing) {
                missing.insert(host.name.clone(), failure.kind);
                failures.push(failure);
                continue;
            }
            let dc = data_centre(config, host.ip);
            if let Some(statement) = &statement
                && let Err(error) =
                    inventory::store_edit::sync(client, statement, host, &dc, config, answered)
                        .await
            {
                if error.is_closed() {
                    return Err(PgError::from(error).into());
                }
                failures.push(ImportFailure {
                    alias: host.name.clone(),
                    why: error
                        .as_db_error()
                        .map_or_else(|| error.to_string(), |e| e.message().to_owned()),
                    kind: FailureKind::Failed,
                });
                missing.insert(host.name.clone(), FailureKind::Failed);
                continue;
            }
            let outcome = ImportOutcome::of(known.get(&*host.name).copied(), host);
            summary.count(outcome, answered);
            if self.dry_run {
                table.add(host, outcome, dc, answered);
            }
        }
        table.print()?;
        Ok(summary)
    }
}

/// Maximum number of concurrent `ssh -G` processes.
const MAX_CONCURRENT: usize = 16;

/// Runs `ssh -G` for every selected name and its jump hosts.
async fn candidates(
    prefix: &str,
    ssh: &Ssh,
    aliases: &Aliases,
) -> (Vec<Candidate>, Vec<ImportFailure>) {
    let prefix = prefix.to_lowercase();
    let wanted = |name: &&String| name.to_lowercase().starts_with(&prefix);
    let mut asking: Vec<String> = aliases.names.iter().filter(wanted).cloned().collect();
    let mut seen: BTreeSet<String> = asking.iter().cloned().collect();
    let (mut candidates, mut failures) = (Vec::new(), Vec::new());
    while !asking.is_empty() {
        let mut next = Vec::new();
        for names in asking.chunks(MAX_CONCURRENT) {
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
                    Ok((Err((kind, why)), alias)) => {
                        failures.push(ImportFailure { alias, why, kind });
                    }
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
    change::name(&name.to_lowercase()).map_err(|why| (FailureKind::Unsupported, why))?;
    let asked = ssh.ask(name).await.map_err(failed)?;
    // Before the DNS lookup: the name may be known to the `ProxyCommand` only.
    if asked.has_command {
        let why = "the inventory does not support `ProxyCommand`".to_owned();
        return Err((FailureKind::Unsupported, why));
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

async fn address(asked: &SshSettings) -> Result<IpAddr, String> {
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
