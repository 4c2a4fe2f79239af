//! `vctl trust-ca`

use std::io::Write as _;
use std::path::{Path, PathBuf};

use vctl_common::centre::{DbRole, VaultSettings};

use super::operator_ssh::ReachArgs;
use crate::centre::capabilities;
use crate::centre::context;
use crate::centre::context::Context;
use crate::centre::globals::Globals;
use crate::completion;
use crate::config::{self, Config, Loaded};
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::inventory::lookup::Directory;
use crate::ssh::{self, ConnectionUse, Forwards, HostSelector, PtyWish, SshRequest, Target};
use crate::ssh_ca::{self, Source};
use crate::trust_ca;
use crate::trust_ca::{
    BootstrapTarget, Fingerprint, Mode, ScriptOutcome, ScriptReport, TrustSpec, bootstrap,
    cloud_init, image,
};
use crate::ui::ask::{Interaction, confirmed};
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice, sanitize};

/// Make a host's sshd trust the SSH CA of Vault
///
/// Goes there with your own `ssh`: your keys, agent, configuration and known hosts. Puts the CA's keys into
/// /etc/ssh/vault-ca.pub beside those that are there, names that file in
/// /etc/ssh/sshd_config.d/10-vault-ca.conf, has sshd check its configuration, and reloads it. Where any of
/// that fails, the files are as before. What authorized_keys lets in stays let in.
///
/// Prints the fingerprint of each CA and the Vault that it comes from, and asks on a terminal before
/// anything is changed.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl trust-ca web-1                             As the inventory's user, which has to be root
  vctl trust-ca web-1 --user ubuntu --sudo        As another one, who may become root
  vctl trust-ca root@192.0.2.1:2222 -i ~/.ssh/id  A host that is not in the inventory; needs no login
  vctl trust-ca web-1 --verify                    And log in with a certificate, to see that it works
  vctl trust-ca --root /mnt/image                 An image that is being made
  vctl trust-ca --cloud-init > user-data          For machines to come; `--script` for other tools")]
#[command(group(clap::ArgGroup::new("where").required(true).args(["host", "root", "script", "cloud_init"])))]
pub(crate) struct TrustCaArgs {
    /// Name, address or part of the name of a host; or user@address[:port]
    #[arg(value_name = "HOST", value_parser = HostSelector::parse, add = completion::destination())]
    host: Option<HostSelector>,

    #[command(flatten)]
    reach: ReachArgs,

    /// Become root with sudo
    #[arg(long, requires = "host")]
    sudo: bool,

    /// Trust this CA no more; may be given several times
    #[arg(long, value_name = "FINGERPRINT")]
    prune: Vec<Fingerprint>,

    /// Only say what would change
    #[arg(long, requires = "host")]
    dry_run: bool,

    /// Log in with a certificate afterwards, and fail where that does not work
    #[arg(long, requires = "host", conflicts_with = "dry_run")]
    verify: bool,

    /// Change the image with this root directory instead of a host
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,

    /// Print the script that a host is to run as root
    #[arg(long)]
    script: bool,

    /// Print user data that has cloud-init run that script
    #[arg(long)]
    cloud_init: bool,

    /// Do not ask; needed without a terminal where a directory's file names the Vault
    #[arg(long, short)]
    yes: bool,
}

pub(crate) fn run(args: &TrustCaArgs, globals: &Globals) -> Result<(), Stop> {
    let loaded = globals.load()?;
    let settings = config::settings(&loaded).vault;
    let interaction = globals.interaction();
    match &args.host {
        None => context::run_without_store(async {
            let orders = args.orders(&settings).await?;
            if let Some(root) = &args.root {
                let name = root.display().to_string();
                args.agreed(&orders, &loaded, interaction, &name).await?;
            }
            args.elsewhere(&orders).await
        }),
        Some(HostSelector::Address { user, addr }) if !args.verify => {
            context::run_without_store(async {
                let orders = args.orders(&settings).await?;
                let mut to = args.reach.past_the_inventory(user, *addr, args.sudo);
                args.agreed(&orders, &loaded, interaction, &to.name).await?;
                let (report, outcome) = bring(&mut to, &orders, interaction).await?;
                show(&to.name, &report, outcome, RELOADS_SSHD)
            })
        }
        Some(wanted) => context::run(globals, async |context| {
            args.may_record(context, wanted).await?;
            let orders = args.orders(&settings).await?;
            let directory = Directory::new(context)?;
            let asked = ssh::plan(&directory, &loaded.config, wanted, interaction);
            let plan = asked.await?;
            let target = &plan.target;
            let mut to = match wanted {
                HostSelector::Address { user, addr } => {
                    args.reach.past_the_inventory(user, *addr, args.sudo)
                }
                _ => args.reach.destination(&plan, args.sudo)?,
            };
            args.agreed(&orders, &loaded, interaction, &to.name).await?;
            let (report, outcome) = bring(&mut to, &orders, interaction).await?;
            show(&to.name, &report, outcome, RELOADS_SSHD)?;
            if args.dry_run {
                return Ok(());
            }
            if args.verify {
                verify(context, &loaded.config, wanted, target, interaction).await?;
            }
            if !matches!(wanted, HostSelector::Address { .. }) {
                record(context, &target.name, &report).await?;
            }
            Ok(())
        }),
    }
}

impl TrustCaArgs {
    /// Says which authorities there are, and from where.
    async fn orders(&self, vault: &VaultSettings) -> Result<TrustSpec, CliError> {
        let (source, wanted) = (Source::of(vault), ssh_ca::published(vault).await?);
        source.tell(&wanted);
        let of_vault =
            |gone: &&Fingerprint| wanted.iter().any(|ca| ca.fingerprint() == gone.as_str());
        if let Some(fingerprint) = self.prune.iter().find(of_vault) {
            let message = format!("{fingerprint} is a CA that Vault signs with");
            return Err(CliError::new(Exit::Usage, message)
                .hint("`vctl ca ssh-rotate` replaces it; `vctl ca ssh-print -o name` shows them"));
        }
        Ok(TrustSpec {
            source,
            wanted,
            unwanted: self.prune.clone(),
            mode: if self.dry_run {
                Mode::Plan
            } else {
                Mode::Apply
            },
        })
    }

    /// Checks what is needed after the host was changed: to write down what it trusts, and to log in there.
    ///
    /// # Errors
    /// `Permission` when Vault says that the token may not.
    async fn may_record(&self, context: &Context, wanted: &HostSelector) -> Result<(), CliError> {
        let mut roles = Vec::new();
        if !self.dry_run && !matches!(wanted, HostSelector::Address { .. }) {
            roles.push(DbRole::Rw);
        }
        if self.verify {
            roles.push(DbRole::AuditWriter);
        }
        Ok(capabilities::require("trust-ca", context.vault(), &roles).await?)
    }

    /// Asks whether `name` is to trust them.
    ///
    /// # Errors
    /// The answer is no; or nobody can be asked, and a directory's file decides which Vault they are of.
    async fn agreed(
        &self,
        orders: &TrustSpec,
        loaded: &Loaded,
        interaction: Interaction,
        name: &str,
    ) -> Result<(), Stop> {
        if self.yes || orders.mode == Mode::Plan {
            return Ok(());
        }
        if interaction == Interaction::Allowed {
            let what = if orders.wanted.len() == 1 {
                "this CA"
            } else {
                "these CAs"
            };
            if confirmed(&format!("Have `{name}` trust {what}?")).await? {
                return Ok(());
            }
            let message = format!("`{name}` is as before");
            return Err(CliError::new(Exit::Failure, message).into());
        }
        // A job that its own configuration sends to Vault goes on as it always did.
        let decides = |key: &&str| loaded.is_from_directory(key);
        match DECIDE_THE_CA.into_iter().find(decides) {
            None => Ok(()),
            Some(key) => {
                let source = loaded.source_of(key);
                let message =
                    format!("there is no terminal to ask on, and {source} decides which CA it is");
                let error = CliError::new(Exit::Usage, message);
                Err(error
                    .hint("compare the fingerprint, then say `--yes`")
                    .into())
            }
        }
    }

    /// What needs no host to go to.
    async fn elsewhere(&self, orders: &TrustSpec) -> Result<(), Stop> {
        let script = orders.script();
        if let Some(root) = &self.root {
            return on_image(root, &script).await;
        }
        let mut screen = Screen::for_programs();
        if self.cloud_init {
            write!(screen, "{}", cloud_init::document(&script))?;
        } else {
            write!(screen, "{script}")?;
        }
        Ok(screen.flush()?)
    }
}

/// Keys that decide which CA Vault is asked for.
const DECIDE_THE_CA: [&str; 4] = [
    "vault_addr",
    "vault_namespace",
    "vault_ca_cert",
    "ssh_mount",
];

async fn bring(
    to: &mut BootstrapTarget,
    orders: &TrustSpec,
    interaction: Interaction,
) -> Result<(ScriptReport, ScriptOutcome), CliError> {
    let (report, code) = bootstrap::run(to, &orders.script(), interaction).await?;
    let outcome = report.outcome(&to.name, code)?;
    Ok((report, outcome))
}

async fn on_image(root: &Path, script: &str) -> Result<(), Stop> {
    let root = root.canonicalize().map_err(|error| {
        let message = format!("cannot look into `{}`", root.display());
        CliError::new(Exit::NotFound, message).caused_by(&error)
    })?;
    let name = root.display().to_string();
    let (report, code) = image::run(&root, script).await?;
    let outcome = report.outcome(&name, code)?;
    show(&name, &report, outcome, TELLS_SSHD)
}

/// What else would be done, in an image and on a host.
const TELLS_SSHD: &str = "sshd would be told where the keys are";
const RELOADS_SSHD: &str = "sshd would be told where the keys are, and be reloaded";

fn show(
    host: &str,
    report: &ScriptReport,
    outcome: ScriptOutcome,
    planned: &str,
) -> Result<(), Stop> {
    let mut screen = Screen::for_people();
    let host = sanitize::visible(host);
    let (adds, removes) = match outcome {
        ScriptOutcome::Planned => ("would trust", "would no longer trust"),
        ScriptOutcome::Applied | ScriptOutcome::Unchanged => ("trusts", "no longer trusts"),
    };
    for fingerprint in &report.kept {
        writeln!(screen, "{host} trusts {fingerprint}, as before")?;
    }
    for fingerprint in &report.added {
        writeln!(screen, "{host} {adds} {fingerprint}")?;
    }
    for fingerprint in &report.removed {
        writeln!(screen, "{host} {removes} {fingerprint}")?;
    }
    match outcome {
        ScriptOutcome::Unchanged => notice::done("nothing was to be changed"),
        ScriptOutcome::Planned if report.drop_in.is_some() => {
            notice::done(planned);
        }
        ScriptOutcome::Planned | ScriptOutcome::Applied => {}
    }
    Ok(screen.flush()?)
}

/// Logs in with a certificate, as anybody will.
async fn verify(
    context: &Context,
    config: &Config,
    wanted: &HostSelector,
    target: &Target,
    interaction: Interaction,
) -> Result<(), Stop> {
    let request = SshRequest {
        destination: match wanted {
            HostSelector::Address { .. } => wanted.clone().into(),
            _ => HostSelector::Exact(target.name.clone()).into(),
        },
        what: ConnectionUse::Session {
            pty: PtyWish::Never,
            command: Some(b"true".to_vec()),
        },
        forwards: Forwards::default(),
        interaction,
        quiet: true,
        mount: None,
    };
    match Box::pin(ssh::run(context, config, &request)).await {
        // Whatever the command came to: somebody was let in.
        Ok(()) | Err(Stop::Child(0..=127)) => {
            notice::done(&format!(
                "a certificate for `{}` is accepted at `{}`",
                target.user, target.name
            ));
            Ok(())
        }
        Err(Stop::Error(mut error)) => {
            error.causes.insert(0, error.message);
            error.message = format!(
                "`{}` has the SSH CA, but accepts no certificate of it",
                target.name
            );
            Err(error.into())
        }
        Err(other) => Err(other),
    }
}

async fn record(context: &Context, host: &str, report: &ScriptReport) -> Result<(), Stop> {
    let noted = async {
        let client = context.connect(&context.pool(DbRole::Rw)?).await?;
        trust_ca::store::applied(&client, host, &report.trusted()).await
    };
    noted.await.map_err(|stop| match stop {
        Stop::Error(mut error) => {
            error.causes.insert(0, error.message);
            error.message = format!("`{host}` trusts the SSH CA, but this is not in the inventory");
            error.into()
        }
        other => other,
    })
}
