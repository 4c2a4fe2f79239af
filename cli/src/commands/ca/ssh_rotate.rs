//! `vctl ca ssh-rotate`: replaces the SSH CA, step by step.

use std::collections::BTreeSet;
use std::time::SystemTime;

use futures_util::StreamExt as _;
use vctl_common::centre::DbRole;
use vctl_common::count::counted;
use vctl_common::pg::{Client, PgError, Pool};

use super::refusal::{out_of_turn, require_none_missing, trust_hint, without};
use super::scopes::GrantedScopes;
use crate::ca_rotation;
use crate::ca_rotation::hosts::{Visit, visit};
use crate::ca_rotation::text::show;
use crate::ca_rotation::{CaKey, FailedHost, KeyState, RotationHost, Stage, vault};
use crate::centre::context;
use crate::centre::context::Context;
use crate::completion;
use crate::config::Config;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::inventory::order;
use crate::ssh_ca::{self, Authority, Source};
use crate::trust_ca;
use crate::trust_ca::TrustSpec;
use crate::ui::ask::{Interaction, confirmed};
use crate::ui::format::OutputFormat;
use crate::ui::help::TEMPLATE;
use crate::ui::{notice, time};

/// Replace the SSH CA without interrupting logins
///
/// 1. `--next` creates a new CA and makes every host trust it beside the old one.
///
/// 2. When every host trusts the new CA, `--next` makes Vault sign with it.
///
/// 3. `--finish` removes the old CA from every host, and its private key from Vault.
///
/// Each step continues where it stopped, and refuses to go on while hosts are missing. vctl connects to the
/// hosts as `vctl ssh` does, as the inventory's user, who must be root or may use sudo without a password.
/// For other hosts, run `vctl trust-ca`. Needs the policies `vctl-admin` and `vctl-ssh`.
///
/// Before any change, each step checks what it can (for example that the new CA's role signs for the user
/// of every host) and asks for confirmation. Without a terminal, give `--yes`.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl ca ssh-rotate --plan            Show the state and the missing hosts
  vctl ca ssh-rotate --plan -o name    Print the missing hosts, for scripts
  vctl ca ssh-rotate --next            Do the next step
  vctl ca ssh-rotate --next --force-without old-1
  vctl ca ssh-rotate --finish          Do the last step")]
#[command(group(clap::ArgGroup::new("step").required(true).args(["plan", "next", "finish"])))]
pub(super) struct SshRotateArgs {
    /// Show the state of the rotation, and change nothing
    #[arg(long)]
    plan: bool,

    /// Do the next step: make hosts trust a new CA, or sign with it
    #[arg(long)]
    next: bool,

    /// Remove the old CA from the hosts and from Vault
    #[arg(long)]
    finish: bool,

    /// Continue although this host is missing: logins to it will fail; repeat for several
    #[arg(long, value_name = "HOST", conflicts_with = "plan", add = completion::host())]
    force_without: Vec<String>,

    /// Do not wait until the last certificates of the old CA have expired
    #[arg(long, requires = "finish")]
    now: bool,

    /// Do not ask for confirmation; needed without a terminal
    #[arg(long, short, conflicts_with = "plan")]
    yes: bool,

    /// Number of hosts to connect to at the same time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64), conflicts_with = "plan")]
    parallel: u16,

    /// Output format of `--plan`
    #[arg(
        long,
        short,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        requires = "plan"
    )]
    output: OutputFormat,
}

pub(super) fn run(args: &SshRotateArgs, globals: &Globals) -> Result<(), Stop> {
    let loaded = globals.load()?;
    let options = globals.options();
    let interaction = globals.interaction();
    if !args.plan && !args.yes {
        let hint = "look with `--plan`, then use `--yes`";
        interaction.require("changing the SSH CA needs confirmation", hint)?;
    }
    context::run(globals, async |context| {
        let role = if args.plan { DbRole::Ro } else { DbRole::Rw };
        let pool = context.pool(role)?;
        let client = context.connect(&pool).await?;
        let configured = &context.settings().vault.ssh_mount;
        let (stage, now) = ca_rotation::store::stage(&client, configured).await?;
        let hosts = ca_rotation::store::hosts(&client).await?;
        if args.plan {
            return show(args.output, &stage, &hosts);
        }
        let scopes = GrantedScopes::read(&client).await?;
        drop(client);
        let rotation = Rotation {
            args,
            context,
            pool,
            config: &loaded.config,
            options: &options,
            interaction,
            without: without(&args.force_without, &hosts)?,
            hosts,
            scopes,
            now,
        };
        match (args.finish, stage) {
            (false, Stage::Resting { active, idle }) => rotation.begin(&active, &idle).await,
            (false, Stage::Spreading { active, next }) => rotation.advance(&active, &next).await,
            (true, Stage::Moved { active, leaving }) => rotation.finish(&active, &leaving).await,
            (false, Stage::Moved { .. }) => Err(out_of_turn(
                "the new SSH CA already signs",
                "`vctl ca ssh-rotate --finish`",
            )),
            (true, Stage::Spreading { .. }) => Err(out_of_turn(
                "the old SSH CA still signs",
                "`vctl ca ssh-rotate --next` makes the new CA sign",
            )),
            (true, Stage::Resting { idle, .. }) => rotation.tidy_up(&idle).await,
        }
    })
}

/// One step of a rotation.
struct Rotation<'a> {
    args: &'a SshRotateArgs,
    context: &'a Context,
    /// Each statement takes a connection from it: the questions and the visits may last longer than the lease of one login.
    pool: Pool,
    config: &'a Config,
    options: &'a [String],
    interaction: Interaction,
    hosts: Vec<RotationHost>,
    scopes: GrantedScopes,
    without: BTreeSet<String>,
    now: SystemTime,
}

impl Rotation<'_> {
    /// Creates a new CA, and makes the hosts trust it.
    async fn begin(&self, active: &CaKey, idle: &str) -> Result<(), Stop> {
        let vault = self.context.vault();
        vault::check_roles(vault, idle, &self.hosts).await?;
        let scopes = &self.scopes;
        scopes.require_at(vault, idle, &active.mount).await?;
        let hosts = counted(self.hosts.len(), "host");
        let question = format!(
            "Create a new SSH CA at `{idle}/`, and make {hosts} trust it beside the old one?"
        );
        if !self.agreed(&question).await? {
            return Ok(());
        }
        self.remove_retired(idle).await?;
        let found = ssh_ca::each(vault.settings()).await?;
        // An unknown CA at this mount was created by an interrupted `--next`.
        let next = match found.into_iter().find(|ca| ca.mount == idle) {
            Some(ca) => ca,
            None => vault::create_checked(vault, idle, &self.hosts).await?,
        };
        ca_rotation::store::record_next(&*self.client().await?, &next).await?;
        notice::done(&format!(
            "the new SSH CA is {}, at `{idle}/`",
            next.fingerprint()
        ));
        self.spread(&next).await
    }

    /// Makes the missing hosts trust the new CA; if none is missing, makes Vault sign with it.
    async fn advance(&self, active: &CaKey, next: &CaKey) -> Result<(), Stop> {
        let vault = self.context.vault();
        vault::sign_for_all(vault, &next.mount, &self.hosts).await?;
        let scopes = &self.scopes;
        scopes.require_at(vault, &next.mount, &active.mount).await?;
        let missing = self.without_trust_in(&next.fingerprint).count();
        if missing > 0 {
            let hosts = counted(missing, "host");
            let question = format!("Make {hosts} trust {}, too?", next.fingerprint);
            if !self.agreed(&question).await? {
                return Ok(());
            }
            return self.spread(&next.authority()?).await;
        }
        let question = format!("Sign with {} from now on?", next.fingerprint);
        if !self.agreed(&question).await? {
            return Ok(());
        }
        ca_rotation::store::move_signing(&*self.client().await?, active, next).await?;
        notice::done(&format!(
            "{} signs now; next: `vctl ca ssh-rotate --finish`, after the last certificates of {} have expired",
            next.fingerprint, active.fingerprint
        ));
        Ok(())
    }

    async fn spread(&self, next: &Authority) -> Result<(), Stop> {
        // A missing role at the new mount must be found before any host is changed.
        vault::sign_for_all(self.context.vault(), &next.mount, &self.hosts).await?;
        let settings = self.context.vault().settings();
        let wanted = ssh_ca::published(settings).await?;
        let spec = TrustSpec::new(Source::of(settings), wanted, Vec::new());
        let fingerprint = next.fingerprint();
        let to_visit: Vec<RotationHost> = self.without_trust_in(&fingerprint).cloned().collect();
        let missing = self.visit(&to_visit, &spec, Some(&next.mount)).await?;
        require_none_missing(
            &missing,
            (
                "does not trust the new SSH CA yet",
                "do not trust the new SSH CA yet",
            ),
            trust_hint,
            "--next",
        )?;
        notice::done("every host trusts it; next: `vctl ca ssh-rotate --next` makes it sign");
        Ok(())
    }

    /// Removes the old CA from the hosts and from Vault.
    async fn finish(&self, active: &CaKey, leaving: &CaKey) -> Result<(), Stop> {
        let mut last = active.since + self.config.ssh_sign.0;
        if !self.args.now {
            let within = self.scopes.longest_lifetime(self.context.vault()).await?;
            last = last.max(active.since + within);
        }
        if !self.args.now && self.now < last {
            let message = format!(
                "certificates of the old SSH CA may be valid until {}",
                time::seconds(last)
            );
            let hint = "wait until then, or use `--now`: users with such a certificate then need a new one";
            return Err(CliError::new(Exit::TryAgain, message).hint(hint).into());
        }
        let certified = self.hosts.iter().filter(|host| {
            host.certificate_ca.as_ref() == Some(&leaving.fingerprint)
                && !self.without.contains(&host.name)
        });
        let certified = certified.map(|host| FailedHost {
            host: host.name.clone(),
            why: format!("its host certificate is signed by {}", leaving.fingerprint),
        });
        let certified: Vec<FailedHost> = certified.collect();
        require_none_missing(
            &certified,
            (
                "shows a host certificate of the old SSH CA",
                "show a host certificate of the old SSH CA",
            ),
            |host| format!("install one of the new CA: `vctl ca host-cert {host}`"),
            "--finish",
        )?;
        let question = format!(
            "Remove {} from every host, and its private key from Vault?",
            leaving.fingerprint
        );
        if !self.agreed(&question).await? {
            return Ok(());
        }
        let source = Source::of(self.context.vault().settings());
        let unwanted = leaving.fingerprint.parse().into_iter().collect();
        let spec = TrustSpec::new(source, vec![active.authority()?], unwanted);
        let trusting = |host: &&RotationHost| {
            host.trusted.contains(&leaving.fingerprint) && !self.without.contains(&host.name)
        };
        let to_visit: Vec<RotationHost> = self.hosts.iter().filter(trusting).cloned().collect();
        let missing = self.visit(&to_visit, &spec, Some(&active.mount)).await?;
        require_none_missing(
            &missing,
            ("still trusts the old SSH CA", "still trust the old SSH CA"),
            trust_hint,
            "--finish",
        )?;
        // In this order: the next `--next` removes a retired CA that is still in Vault.
        ca_rotation::store::retire(&*self.client().await?, leaving).await?;
        vault::remove(self.context.vault(), &leaving.mount).await?;
        notice::done(&format!(
            "removed {}; {} is the SSH CA",
            leaving.fingerprint, active.fingerprint
        ));
        Ok(())
    }

    /// Completes an interrupted `--finish`; without one, returns an error.
    async fn tidy_up(&self, idle: &str) -> Result<(), Stop> {
        if self.remove_retired(idle).await? {
            notice::done("removed the old SSH CA");
            return Ok(());
        }
        Err(out_of_turn(
            "no rotation of the SSH CA is in progress",
            "`vctl ca ssh-rotate --next` starts one",
        ))
    }

    /// Asks for confirmation.
    async fn agreed(&self, question: &str) -> Result<bool, Stop> {
        let agreed = self.args.yes || confirmed(self.interaction, question).await?;
        if !agreed {
            notice::note("nothing was changed");
        }
        Ok(agreed)
    }

    /// Removes the retired CA at a mount, and returns whether there was one.
    async fn remove_retired(&self, idle: &str) -> Result<bool, Stop> {
        let vault = self.context.vault();
        for ca in ssh_ca::each(vault.settings()).await? {
            let known =
                ca_rotation::store::state(&*self.client().await?, &ca.fingerprint()).await?;
            if ca.mount == idle && known == Some(KeyState::Retired) {
                vault::remove(vault, idle).await?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn client(&self) -> Result<Client, PgError> {
        self.pool.get().await
    }

    /// Connects to the hosts, records what they trust, and returns the hosts that failed.
    async fn visit(
        &self,
        hosts: &[RotationHost],
        spec: &TrustSpec,
        proof: Option<&str>,
    ) -> Result<Vec<FailedHost>, Stop> {
        let each = Visit {
            spec,
            proof,
            options: self.options,
        };
        let going = match hosts {
            [] => return Ok(Vec::new()),
            [host] => format!("connecting to {}", host.name),
            hosts => format!("connecting to {}", counted(hosts.len(), "host")),
        };
        spec.source.tell(&spec.wanted);
        notice::done(&going);
        let mut missing = Vec::new();
        let mut visits = std::pin::pin!(visit(hosts, &each, self.args.parallel.into()));
        while let Some((host, done)) = visits.next().await {
            // A host without a record is visited again by the next run.
            let failed = match done {
                Ok(trusted) => trust_ca::store::record(&self.pool, &host.name, &trusted).await?,
                Err(error) => Some(error.one_line()),
            };
            match failed {
                None => notice::done(&format!("{}: done", host.name)),
                Some(why) => {
                    notice::done(&format!("{}: {why}", host.name));
                    let host = host.name.clone();
                    missing.push(FailedHost { host, why });
                }
            }
        }
        missing.sort_by(|one, other| order::by_name(&one.host, &other.host));
        Ok(missing)
    }

    /// Returns the hosts that do not trust the CA, except those of `--force-without`.
    fn without_trust_in(&self, fingerprint: &str) -> impl Iterator<Item = &RotationHost> {
        let missing = self
            .hosts
            .iter()
            .filter(move |host| !host.trusted.contains(fingerprint));
        missing.filter(|host| !self.without.contains(&host.name))
    }
}
