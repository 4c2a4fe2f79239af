//! `vctl ca ssh-rotate`

use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::SystemTime;

use futures_util::StreamExt as _;
use vctl_common::centre::DbRole;
use vctl_common::count::counted;
use vctl_common::pg::Client;

use super::refusal::{nobody_is, out_of_turn, tell_it, without};
use crate::ca_rotation;
use crate::ca_rotation::hosts::{Visit, visit};
use crate::ca_rotation::text::{Standings, write};
use crate::ca_rotation::{Host, Key, KeyState, Missing, Stage, vault};
use crate::centre::context;
use crate::centre::context::Context;
use crate::centre::globals::Globals;
use crate::completion;
use crate::config::Config;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::inventory::order;
use crate::ssh_ca::{self, Authority, Source};
use crate::trust_ca;
use crate::trust_ca::{Mode, Orders};
use crate::ui::ask::{Interaction, confirmed};
use crate::ui::form::Form;
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice, records, time};

/// Replace the SSH CA, while everybody goes on logging in
///
/// `--next` makes a new CA and has every host trust it beside the old one. Once every host does, `--next` has
/// the new one sign. `--finish` then has every host trust the old one no more, and takes its private key out
/// of Vault. Each goes on where it stopped, and refuses while hosts are missing. Hosts are visited with
/// `vctl ssh`, as the inventory's user, who has to be root or become it with sudo without a password; a host
/// where that does not work is told with `vctl trust-ca`. Needs the policies `vctl-admin` and `vctl-ssh`.
///
/// Each step first checks what it can, such as that the new CA's role signs for the user of every host, then asks,
/// and changes nothing before the answer. Without a terminal it needs `--yes`.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl ca ssh-rotate --plan                   Where it stands, and which hosts are missing
  vctl ca ssh-rotate --plan -o name           Those hosts, for scripts
  vctl ca ssh-rotate --next                   The next step
  vctl ca ssh-rotate --next --force-without old-1
  vctl ca ssh-rotate --finish                 The last one")]
#[command(group(clap::ArgGroup::new("step").required(true).args(["plan", "next", "finish"])))]
pub(super) struct SshRotateArgs {
    /// Show where it stands, and change nothing
    #[arg(long)]
    plan: bool,

    /// Do the next step: tell the hosts of a new CA, or have it sign
    #[arg(long)]
    next: bool,

    /// Have the hosts trust the old CA no more, and take it out of Vault
    #[arg(long)]
    finish: bool,

    /// Go on although this host is missing: nobody will get into it; may be given several times
    #[arg(long, value_name = "HOST", conflicts_with = "plan", add = completion::host())]
    force_without: Vec<String>,

    /// Do not wait until the old CA's last certificates have ended
    #[arg(long, requires = "finish")]
    now: bool,

    /// Do not ask; needed where there is no terminal
    #[arg(long, short, conflicts_with = "plan")]
    yes: bool,

    /// How many hosts to visit at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    parallel: u16,

    /// Form of the plan
    #[arg(
        long,
        short,
        value_name = "FORM",
        value_enum,
        default_value_t,
        requires = "plan"
    )]
    output: Form,
}

pub(super) fn run(args: &SshRotateArgs, globals: &Globals) -> Result<(), Stop> {
    let loaded = globals.load()?;
    let options = globals.options();
    if !args.plan && !args.yes && globals.interaction() == Interaction::Never {
        let message = "there is no terminal to ask on before the SSH CA is changed";
        let hint = "look with `--plan`, then give `--yes`";
        return Err(CliError::new(Exit::Usage, message).hint(hint).into());
    }
    context::run(globals, async |context| {
        let role = if args.plan { DbRole::Ro } else { DbRole::Rw };
        let client = context.connect(&context.pool(role)?).await?;
        let configured = &context.settings().vault.ssh_mount;
        let (stage, now) = ca_rotation::store::stage(&client, configured).await?;
        let hosts = ca_rotation::store::hosts(&client).await?;
        if args.plan {
            return show(args, &stage, &hosts);
        }
        let rotation = Rotation {
            args,
            context,
            client: &client,
            config: &loaded.config,
            options: &options,
            without: without(&args.force_without, &hosts)?,
            hosts,
            now,
        };
        match (args.finish, stage) {
            (false, Stage::Resting { idle, .. }) => rotation.begin(&idle).await,
            (false, Stage::Spreading { active, next }) => rotation.go_on(&active, &next).await,
            (true, Stage::Moved { active, leaving }) => rotation.finish(&active, &leaving).await,
            (false, Stage::Moved { .. }) => Err(out_of_turn(
                "the new SSH CA signs already",
                "`vctl ca ssh-rotate --finish`",
            )),
            (true, Stage::Spreading { .. }) => Err(out_of_turn(
                "the old SSH CA still signs",
                "`vctl ca ssh-rotate --next` has the new one sign",
            )),
            (true, Stage::Resting { idle, .. }) => rotation.tidy_up(&idle).await,
        }
    })
}

/// One step, and all it needs.
struct Rotation<'a> {
    args: &'a SshRotateArgs,
    context: &'a Context,
    client: &'a Client,
    config: &'a Config,
    options: &'a [String],
    hosts: Vec<Host>,
    without: BTreeSet<String>,
    now: SystemTime,
}

impl Rotation<'_> {
    /// Makes a new CA, and tells the hosts of it.
    async fn begin(&self, idle: &str) -> Result<(), Stop> {
        let vault = self.context.vault();
        vault::foresee(vault, idle, &self.hosts).await?;
        let hosts = counted(self.hosts.len(), "host");
        let question = format!(
            "Make a new SSH CA at `{idle}/`, and have {hosts} trust it beside the old one?"
        );
        if !self.agreed(&question).await? {
            return Ok(());
        }
        self.remove_retired(idle).await?;
        let found = ssh_ca::each(vault.settings()).await?;
        // One that nobody knows was made by a `--next` that was cut short.
        let next = match found.into_iter().find(|ca| ca.mount == idle) {
            Some(ca) => ca,
            None => vault::make_proven(vault, idle, &self.hosts).await?,
        };
        ca_rotation::store::enter_next(self.client, &next).await?;
        notice::done(&format!(
            "the new SSH CA is {}, at `{idle}/`",
            next.fingerprint()
        ));
        self.spread(&next).await
    }

    /// Tells the hosts that are missing; has the new CA sign once none is.
    async fn go_on(&self, active: &Key, next: &Key) -> Result<(), Stop> {
        let vault = self.context.vault();
        vault::prove(vault, &next.mount, &self.hosts).await?;
        let missing = self.without_trust_in(&next.fingerprint).count();
        if missing > 0 {
            let hosts = counted(missing, "host");
            let question = format!("Have {hosts} trust {}, too?", next.fingerprint);
            if !self.agreed(&question).await? {
                return Ok(());
            }
            return self.spread(&authority(next)?).await;
        }
        let question = format!("Have {} sign from now on?", next.fingerprint);
        if !self.agreed(&question).await? {
            return Ok(());
        }
        ca_rotation::store::move_signing(self.client, active, next).await?;
        notice::done(&format!(
            "{} signs now; next: `vctl ca ssh-rotate --finish`, once the last certificates of {} have ended",
            next.fingerprint, active.fingerprint
        ));
        Ok(())
    }

    async fn spread(&self, next: &Authority) -> Result<(), Stop> {
        // A role that is not at the new mount is known before any host is touched.
        vault::prove(self.context.vault(), &next.mount, &self.hosts).await?;
        let settings = self.context.vault().settings();
        let orders = Orders {
            source: Source::of(settings),
            wanted: ssh_ca::published(settings).await?,
            unwanted: Vec::new(),
            mode: Mode::Apply,
        };
        let fingerprint = next.fingerprint();
        let to_visit: Vec<Host> = self.without_trust_in(&fingerprint).cloned().collect();
        let missing = self.visit(&to_visit, &orders, Some(&next.mount)).await?;
        nobody_is(
            &missing,
            (
                "does not trust the new SSH CA yet",
                "do not trust the new SSH CA yet",
            ),
            tell_it,
            "--next",
        )?;
        notice::done("every host trusts it; next: `vctl ca ssh-rotate --next` has it sign");
        Ok(())
    }

    /// Has the hosts forget the old CA, and takes it out of Vault.
    async fn finish(&self, active: &Key, leaving: &Key) -> Result<(), Stop> {
        let last = active.since + self.config.ssh_sign.0;
        if !self.args.now && self.now < last {
            let message = format!(
                "certificates of the old SSH CA may last until {}",
                time::seconds(last)
            );
            let hint = "wait until then; with `--now` who holds one has to ask for another";
            return Err(CliError::new(Exit::TryAgain, message).hint(hint).into());
        }
        let vouched = self.hosts.iter().filter(|host| {
            host.vouched_by.as_ref() == Some(&leaving.fingerprint)
                && !self.without.contains(&host.name)
        });
        let vouched = vouched.map(|host| Missing {
            host: host.name.clone(),
            why: format!("its certificate is of {}", leaving.fingerprint),
        });
        let vouched: Vec<Missing> = vouched.collect();
        nobody_is(
            &vouched,
            (
                "shows a host certificate of the old SSH CA",
                "show a host certificate of the old SSH CA",
            ),
            |host| format!("put one of the new CA there: `vctl ca host-cert {host}`"),
            "--finish",
        )?;
        let question = format!(
            "Have every host trust {} no more, and remove its private key from Vault?",
            leaving.fingerprint
        );
        if !self.agreed(&question).await? {
            return Ok(());
        }
        let orders = Orders {
            source: Source::of(self.context.vault().settings()),
            wanted: vec![authority(active)?],
            unwanted: leaving.fingerprint.parse().into_iter().collect(),
            mode: Mode::Apply,
        };
        let trusting = |host: &&Host| {
            host.trusted.contains(&leaving.fingerprint) && !self.without.contains(&host.name)
        };
        let to_visit: Vec<Host> = self.hosts.iter().filter(trusting).cloned().collect();
        let missing = self.visit(&to_visit, &orders, Some(&active.mount)).await?;
        nobody_is(
            &missing,
            ("still trusts the old SSH CA", "still trust the old SSH CA"),
            tell_it,
            "--finish",
        )?;
        // In this order: a CA that is in Vault and retired is removed by the next `--next`.
        ca_rotation::store::retire(self.client, leaving).await?;
        vault::remove(self.context.vault(), &leaving.mount).await?;
        notice::done(&format!(
            "{} is gone; {} is the SSH CA",
            leaving.fingerprint, active.fingerprint
        ));
        Ok(())
    }

    /// Ends a `--finish` that was cut short; where there was none, there is nothing to finish.
    async fn tidy_up(&self, idle: &str) -> Result<(), Stop> {
        if self.remove_retired(idle).await? {
            notice::done("the old SSH CA is gone");
            return Ok(());
        }
        Err(out_of_turn(
            "no rotation of the SSH CA is under way",
            "`vctl ca ssh-rotate --next` begins one",
        ))
    }

    /// Asks before anything changes.
    async fn agreed(&self, question: &str) -> Result<bool, Stop> {
        let agreed = self.args.yes || confirmed(question).await?;
        if !agreed {
            notice::note("nothing was changed");
        }
        Ok(agreed)
    }

    /// Takes the CA at a mount away that no host trusts any more, and says whether there was one.
    async fn remove_retired(&self, idle: &str) -> Result<bool, Stop> {
        let vault = self.context.vault();
        for ca in ssh_ca::each(vault.settings()).await? {
            let known = ca_rotation::store::state(self.client, &ca.fingerprint()).await?;
            if ca.mount == idle && known == Some(KeyState::Retired) {
                vault::remove(vault, idle).await?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes to these hosts, notes what they trust, and returns those where it did not work.
    async fn visit(
        &self,
        hosts: &[Host],
        orders: &Orders,
        proof: Option<&str>,
    ) -> Result<Vec<Missing>, Stop> {
        let each = Visit {
            orders,
            proof,
            options: self.options,
        };
        let going = match hosts {
            [] => return Ok(Vec::new()),
            [host] => format!("going to {}", host.name),
            hosts => format!("going to {}", counted(hosts.len(), "host")),
        };
        orders.source.tell(&orders.wanted);
        notice::done(&going);
        let mut missing = Vec::new();
        let mut visits = std::pin::pin!(visit(hosts, &each, self.args.parallel.into()));
        while let Some((host, done)) = visits.next().await {
            match done {
                Ok(trusted) => {
                    trust_ca::store::applied(self.client, &host.name, &trusted).await?;
                    notice::done(&format!("{}: done", host.name));
                }
                Err(error) => {
                    let why = std::iter::once(error.message).chain(error.causes);
                    let why = why.collect::<Vec<_>>().join(": ");
                    notice::done(&format!("{}: {why}", host.name));
                    let host = host.name.clone();
                    missing.push(Missing { host, why });
                }
            }
        }
        missing.sort_by(|one, other| order::by_name(&one.host, &other.host));
        Ok(missing)
    }

    /// The hosts that have to be told, but for those that we are to go on without.
    fn without_trust_in(&self, fingerprint: &str) -> impl Iterator<Item = &Host> {
        let missing = self
            .hosts
            .iter()
            .filter(move |host| !host.trusted.contains(fingerprint));
        missing.filter(|host| !self.without.contains(&host.name))
    }
}

fn authority(key: &Key) -> Result<Authority, CliError> {
    Authority::read(&key.mount, &key.line).ok_or_else(|| {
        let message = format!("the database has no key for {}", key.fingerprint);
        CliError::new(Exit::Failure, message)
    })
}

fn show(args: &SshRotateArgs, stage: &Stage, hosts: &[Host]) -> Result<(), Stop> {
    let standings = Standings { stage };
    if args.output.is_for_people() {
        let mut screen = Screen::for_people();
        let width = screen.layout(false).width;
        write(&mut screen, stage, hosts, width)?;
        return Ok(screen.flush()?);
    }
    let mut screen = Screen::for_programs();
    let mut hosts = hosts.to_vec();
    if args.output == Form::Name {
        hosts.retain(|host| standings.is_missing(host));
    }
    records::write(&mut screen, args.output, &standings, &hosts)?;
    Ok(screen.flush()?)
}
