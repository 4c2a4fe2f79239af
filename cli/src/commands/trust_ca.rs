//! `vctl trust-ca`: makes a host's sshd trust the SSH CA.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use vctl_common::centre::{DbRole, VaultSettings};

use super::operator_ssh::OperatorSshArgs;
use super::scope_args::{self, ScopeArgs};
use crate::centre::capabilities;
use crate::centre::context;
use crate::centre::context::Context;
use crate::completion;
use crate::config::globals::Globals;
use crate::config::{self, Config, Loaded};
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::inventory::lookup::HostLookup;
use crate::rbac::command::GatedCommand;
use crate::rbac::gate;
use crate::ssh::{
    self, ConnectionUse, Forwards, HostSelector, LookedUpHost, PtyWish, SshRequest, Target,
    UnknownKeys,
};
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
/// Connects with your own `ssh`: your keys, agent, configuration and known_hosts. Adds the CA keys to
/// /etc/ssh/vault-ca.pub, names that file in /etc/ssh/sshd_config.d/10-vault-ca.conf, makes sshd check its
/// configuration, and reloads sshd. If a step fails, vctl restores the files. Keys in authorized_keys
/// still work.
///
/// Before any change, vctl prints the fingerprint of each CA and the Vault server that it comes from, and
/// asks for confirmation on a terminal.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl trust-ca web-1                         As the inventory's user, here root
  vctl trust-ca web-1 --user ubuntu --sudo    As another user, with sudo
  vctl trust-ca root@192.0.2.1:2222 -i KEY    Not in the inventory; no login
  vctl trust-ca web-1 --verify                Test a login with a certificate
  vctl trust-ca web-1 --scopes FILE           And accept its scopes
  vctl trust-ca --root /mnt/image             Change an image
  vctl trust-ca --cloud-init > user-data      For new machines; also `--script`")]
#[command(group(clap::ArgGroup::new("where").required(true).args(["host", "root", "script", "cloud_init"])))]
pub(crate) struct TrustCaArgs {
    /// Name or address of a host (on a terminal and without `--yes`, a part of its name), or user@address[:port]
    #[arg(value_name = "HOST", value_parser = HostSelector::parse, add = completion::destination())]
    host: Option<HostSelector>,

    #[command(flatten)]
    reach: OperatorSshArgs,

    /// Become root with sudo on the host
    #[arg(long, requires = "host")]
    sudo: bool,

    /// Remove the trust in this CA; repeat for several
    #[arg(long, value_name = "FINGERPRINT")]
    prune: Vec<Fingerprint>,

    #[command(flatten)]
    scopes: ScopeArgs,

    /// Show what would change, and change nothing
    #[arg(long, requires = "host")]
    dry_run: bool,

    /// Then log in with a certificate, and fail if that does not work
    #[arg(long, requires = "host", conflicts_with = "dry_run")]
    verify: bool,

    /// Change the image with this root directory, instead of a host
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,

    /// Print the script, to run as root on a host
    #[arg(long)]
    script: bool,

    /// Print user data that makes cloud-init run the script
    #[arg(long)]
    cloud_init: bool,

    /// Do not ask for confirmation; needed without a terminal if a directory's file sets the
    /// Vault server
    #[arg(long, short, conflicts_with_all = ["script", "cloud_init"])]
    yes: bool,
}

pub(crate) fn run(args: &TrustCaArgs, globals: &Globals) -> Result<(), Stop> {
    let loaded = globals.load()?;
    let settings = config::settings(&loaded).vault;
    let interaction = globals.interaction();
    match &args.host {
        None => context::run_without_store(async {
            let mut spec = args.spec(&settings).await?;
            spec.scopes = args.scopes.for_host(None)?;
            if let Some(root) = &args.root {
                let name = root.display().to_string();
                args.agreed(&spec, &loaded, interaction, &name).await?;
            }
            args.elsewhere(&spec).await
        }),
        Some(HostSelector::Address { user, addr }) if !args.verify => {
            context::run_without_store(async {
                let mut spec = args.spec(&settings).await?;
                spec.scopes = args.scopes.for_host(None)?;
                let mut to = args.reach.to_address(user, *addr, args.sudo);
                args.agreed(&spec, &loaded, interaction, &to.name).await?;
                let (report, outcome) = apply(&mut to, &spec, interaction).await?;
                show(&to.name, &report, outcome, RELOADS_SSHD)?;
                scope_args::show(&to.name, &spec, outcome)
            })
        }
        Some(wanted) => context::run(globals, async |context| {
            args.may_record(context, wanted).await?;
            let mut spec = args.spec(&settings).await?;
            let lookup = HostLookup::new(context)?;
            // Without a question, a part of a name could mean another host.
            let naming = if args.yes {
                Interaction::Never
            } else {
                interaction
            };
            let asked = ssh::look_up(&lookup, &loaded.config, wanted, naming);
            let LookedUpHost { plan, grants, .. } = asked.await?;
            gate::require(context, GatedCommand::TrustCa, None, grants).await?;
            let target = &plan.target;
            let is_in_inventory = !matches!(wanted, HostSelector::Address { .. });
            spec.scopes = args.scopes.for_host(is_in_inventory.then_some(target))?;
            let mut to = match wanted {
                HostSelector::Address { user, addr } => {
                    args.reach.to_address(user, *addr, args.sudo)
                }
                _ => args.reach.destination(&plan, args.sudo)?,
            };
            args.agreed(&spec, &loaded, interaction, &to.name).await?;
            let (report, outcome) = apply(&mut to, &spec, interaction).await?;
            show(&to.name, &report, outcome, RELOADS_SSHD)?;
            scope_args::show(&to.name, &spec, outcome)?;
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
    /// Prints the CAs and their source, and returns the wanted state of trust.
    async fn spec(&self, vault: &VaultSettings) -> Result<TrustSpec, CliError> {
        let (source, wanted) = (Source::of(vault), ssh_ca::published(vault).await?);
        source.tell(&wanted);
        let of_vault =
            |gone: &&Fingerprint| wanted.iter().any(|ca| ca.fingerprint() == gone.as_str());
        if let Some(fingerprint) = self.prune.iter().find(of_vault) {
            let message = format!("Vault still signs with the CA {fingerprint}");
            return Err(CliError::new(Exit::Usage, message).hint(
                "`vctl ca ssh-rotate` replaces it; `vctl ca ssh-print -o name` lists the CAs",
            ));
        }
        let mut spec = TrustSpec::new(source, wanted, self.prune.clone());
        if self.dry_run {
            spec.mode = Mode::Plan;
        }
        Ok(spec)
    }

    /// Checks in advance the rights that are needed after the change: to record the trust, and to log in.
    ///
    /// # Errors
    /// `Permission` when the token lacks a right.
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

    /// Asks for confirmation that `name` will trust the CAs.
    ///
    /// # Errors
    /// The answer is no; or vctl may not prompt, and a directory's file sets the Vault server.
    async fn agreed(
        &self,
        spec: &TrustSpec,
        loaded: &Loaded,
        interaction: Interaction,
        name: &str,
    ) -> Result<(), Stop> {
        if self.yes || spec.mode == Mode::Plan {
            return Ok(());
        }
        let Some(reason) = interaction.refusal() else {
            let what = if spec.wanted.len() == 1 {
                "this CA"
            } else {
                "these CAs"
            };
            if confirmed(interaction, &format!("Make `{name}` trust {what}?")).await? {
                return Ok(());
            }
            let message = format!("`{name}` was not changed");
            return Err(CliError::new(Exit::Failure, message).into());
        };
        // A job whose own configuration sets the Vault server needs no confirmation.
        let decides = |key: &&str| loaded.is_from_directory(key);
        match DECIDE_THE_CA.into_iter().find(decides) {
            None => Ok(()),
            Some(key) => {
                let source = loaded.source_of(key);
                let message = format!(
                    "this needs confirmation, because {source} decides which CA it is, and {reason}"
                );
                let error = CliError::new(Exit::Usage, message);
                Err(error
                    .hint("compare the fingerprint, then use `--yes`")
                    .into())
            }
        }
    }

    /// Changes an image, or prints the script or user data.
    async fn elsewhere(&self, spec: &TrustSpec) -> Result<(), Stop> {
        let script = spec.script();
        if let Some(root) = &self.root {
            return on_image(root, spec, &script).await;
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

/// Keys that decide which CA is read.
const DECIDE_THE_CA: [&str; 4] = [
    "vault_addr",
    "vault_namespace",
    "vault_ca_cert",
    "ssh_mount",
];

async fn apply(
    to: &mut BootstrapTarget,
    spec: &TrustSpec,
    interaction: Interaction,
) -> Result<(ScriptReport, ScriptOutcome), CliError> {
    let (report, code) = bootstrap::run(to, &spec.script(), interaction).await?;
    let outcome = report.outcome(&to.name, code)?;
    Ok((report, outcome))
}

async fn on_image(root: &Path, spec: &TrustSpec, script: &str) -> Result<(), Stop> {
    let root = root.canonicalize().map_err(|error| {
        let message = format!("cannot read directory `{}`", root.display());
        CliError::new(Exit::NotFound, message).caused_by(&error)
    })?;
    let name = root.display().to_string();
    let (report, code) = image::run(&root, script).await?;
    let outcome = report.outcome(&name, code)?;
    show(&name, &report, outcome, CHANGES_SSHD_CONFIG)?;
    scope_args::show(&name, spec, outcome)
}

/// Further changes of a plan, in an image and on a host.
const CHANGES_SSHD_CONFIG: &str = "sshd_config would name the file of CA keys";
const RELOADS_SSHD: &str = "sshd_config would name the file of CA keys, and sshd would be reloaded";

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
        ScriptOutcome::Unchanged => notice::done("nothing to change"),
        ScriptOutcome::Planned if report.drop_in.is_some() => {
            notice::done(planned);
        }
        ScriptOutcome::Planned | ScriptOutcome::Applied => {}
    }
    Ok(screen.flush()?)
}

/// Logs in with a certificate, as users do.
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
        unknown_keys: UnknownKeys::Ask(interaction),
    };
    match Box::pin(ssh::run(context, config, &request)).await {
        // Any exit status of the command proves that the login worked.
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
                "`{}` has the SSH CA, but does not accept a certificate of it",
                target.name
            );
            Err(error.into())
        }
        Err(other) => Err(other),
    }
}

async fn record(context: &Context, host: &str, report: &ScriptReport) -> Result<(), Stop> {
    let noted = async {
        let client = context.connect_as(DbRole::Rw).await?;
        trust_ca::store::applied(&client, host, &report.trusted()).await
    };
    noted.await.map_err(|stop| match stop {
        Stop::Error(mut error) => {
            error.causes.insert(0, error.message);
            error.message = format!(
                "`{host}` trusts the SSH CA, but this could not be recorded in the inventory"
            );
            error.into()
        }
        other => other,
    })
}
