//! `vctl rbac check`: whether the user may run a command, and which layer denies it.

use std::io::Write as _;

use vctl_common::centre::DbRole;

use crate::centre::capabilities::Need;
use crate::centre::context;
use crate::centre::context::Context;
use crate::completion;
use crate::config::Loaded;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::inventory::lookup::HostLookup;
use crate::overview;
use crate::rbac::caller::CallerGrants;
use crate::rbac::check::{
    CertificateNeed, Verdict, by_grants, by_policies, certificate_of_any_host,
};
use crate::rbac::command::{CommandClass, GatedCommand, class_of};
use crate::rbac::scope::Target;
use crate::rbac::{json, lookup, table};
use crate::ssh::{self, Destination, RoutePlan};
use crate::ui::ask::Interaction;
use crate::ui::format::OutputFormat;
use crate::ui::help::{self, TEMPLATE};
use crate::ui::{Screen, sanitize};

/// Show whether you may run a command, and which layer denies it
///
/// Two layers decide: the grants of your groups, and the policies of your token in Vault. The exit status
/// is 77 if one of them denies the command, and 69 if the grants cannot be looked up; the error names the
/// layer and the next step. Nothing is run or changed.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl rbac check exec              May I run `vctl exec`?
  vctl rbac check ssh web-1         May I log in to web-1?
  vctl rbac check ssh root@web-1    May I log in to it as root?
  vctl rbac check session end       May I end a session?
  vctl rbac check rbac group list   May I list the groups?")]
#[command(group(clap::ArgGroup::new("target").args(["place", "host"])))]
pub(super) struct CheckArgs {
    /// Name of a command of vctl
    #[arg(value_name = "COMMAND", add = completion::command())]
    command: String,

    /// Exact name or address of a host, also as USER@HOST, for `ssh` and `proxy`; a subcommand for others
    #[arg(value_name = "HOST|SUBCOMMAND", add = completion::host())]
    place: Option<String>,

    /// Subcommand of the subcommand
    #[arg(value_name = "SUBCOMMAND")]
    below: Option<String>,

    /// The same as HOST
    #[arg(long, value_name = "HOST", add = completion::host())]
    host: Option<String>,

    /// User on the host [default: user of the inventory]
    #[arg(long, value_name = "USER", requires = "target", add = completion::login_user())]
    user: Option<String>,

    /// Output format
    #[arg(
        long, short, value_name = "FORMAT", default_value = "table",
        value_parser = OutputFormat::among(OutputFormat::OF_DOCUMENT)
    )]
    output: OutputFormat,
}

pub(super) fn run(args: &CheckArgs, globals: &Globals) -> Result<(), Stop> {
    let root = help::root();
    let Some(command) = root.find_subcommand(&args.command) else {
        let name = sanitize::text(&args.command);
        let names: Vec<&str> = GatedCommand::ALL.iter().map(|one| one.name()).collect();
        let meant = overview::nearest(&args.command, &root);
        let meant = meant.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        let message = format!("`{name}` is not a command of vctl{meant}");
        let hint = format!("commands that need a grant: {}", names.join(", "));
        return Err(CliError::new(Exit::Usage, message).hint(hint).into());
    };
    let (command, name, host) = named(args, command)?;
    let host = args.host.as_deref().or(host);
    let is_group_of_commands = name.contains(' ') && command.is_subcommand_required_set();
    if is_group_of_commands {
        let message = format!("the rules for the subcommands of `vctl {name}` differ");
        let error = CliError::new(Exit::Usage, message);
        return Err(error.hint(subcommands(command)).into());
    }
    if (host.is_some() || args.user.is_some())
        && class_of(&name) != CommandClass::Gated(GatedCommand::Ssh)
    {
        let message = format!("`vctl {name}` does not log in to a host with a certificate");
        let error = CliError::new(Exit::Usage, message);
        return Err(error.hint("give a host with `ssh` or `proxy`").into());
    }
    let destination = host.map(|host| {
        let destination = Destination::parse(host).map_err(|why| {
            let host = sanitize::text(host);
            CliError::new(Exit::Usage, format!("`{host}` is not a host: {why}"))
        });
        Ok::<_, CliError>(destination?.or_rather(args.user.as_deref(), None))
    });
    let destination = destination.transpose()?;
    let loaded = globals.load()?;
    let verdict = context::run(globals, async |context| {
        decide(&name, destination.as_ref(), context, &loaded).await
    })?;
    let mut screen = Screen::for_format(args.output);
    if args.output.is_for_people() {
        let layout = screen.layout(false);
        table::write_verdict(&mut screen, &verdict, layout)?;
    } else {
        json::write_verdict(&mut screen, args.output, &verdict)?;
    }
    screen.flush()?;
    match verdict.layers.iter().find(|layer| !layer.allowed) {
        None => Ok(()),
        Some(denying) => {
            let layer = match denying.layer {
                "grant" => "the grants of vctl",
                _ => "the policies of Vault",
            };
            let user = sanitize::text(&verdict.display_name);
            let message = format!("`vctl {name}` is denied to `{user}` by {layer}");
            let mut error = CliError::new(denying.exit, message);
            error.hint.clone_from(&denying.fix);
            Err(error.into())
        }
    }
}

/// Returns the command, its whole name, and the host after it.
fn named<'a>(
    args: &'a CheckArgs,
    command: &'a clap::Command,
) -> Result<(&'a clap::Command, String, Option<&'a str>), CliError> {
    let (mut command, mut name) = (command, command.get_name().to_owned());
    let mut host = None;
    for word in [&args.place, &args.below].into_iter().flatten() {
        if let Some(below) = command.find_subcommand(word) {
            name = format!("{name} {}", below.get_name());
            command = below;
        } else if command.has_subcommands() || host.is_some() || name.contains(' ') {
            let word = sanitize::text(word);
            let message = format!("`vctl {name}` has no subcommand `{word}`");
            let error = CliError::new(Exit::Usage, message);
            return Err(if command.has_subcommands() {
                error.hint(subcommands(command))
            } else {
                error
            });
        } else {
            host = Some(&**word);
        }
    }
    Ok((command, name, host))
}

fn subcommands(command: &clap::Command) -> String {
    let names = command.get_subcommands().map(clap::Command::get_name);
    format!("its subcommands: {}", names.collect::<Vec<_>>().join(", "))
}

async fn decide(
    name: &str,
    destination: Option<&Destination>,
    context: &Context,
    loaded: &Loaded,
) -> Result<Verdict, Stop> {
    let info = context.vault().lookup_self().await?;
    let mut certificates = Vec::new();
    let grant = if let Some(destination) = destination {
        let lookup = HostLookup::new(context)?;
        let wanted = destination.wanted();
        let found = ssh::look_up(&lookup, &loaded.config, &wanted, Interaction::Never).await?;
        let mut plan = found.plan;
        ssh::complete(&mut plan, destination, found.grants.as_ref().ok());
        certificates = certificates_of(&plan);
        let host = &plan.target;
        let target = Target {
            dc: &host.dc,
            host: &host.name,
            user: &host.user,
        };
        by_grants(name, Some(&target), &found.grants, &info)
    } else {
        let grants = match class_of(name) {
            CommandClass::Gated(GatedCommand::Ssh) => {
                let (mount, grants) = lookup::with_signing_mount(context, DbRole::Ro).await;
                let ca_role = &loaded.config.ca_role;
                certificates.push(certificate_of_any_host(&grants, &mount, ca_role));
                grants
            }
            CommandClass::Gated(_) => lookup::with_role(context, DbRole::Ro).await,
            _ => Ok(CallerGrants::default()),
        };
        by_grants(name, None, &grants, &info)
    };
    let policy = by_policies(name, context, loaded, &certificates).await?;
    Ok(Verdict {
        command: name.to_owned(),
        display_name: info.display_name,
        layers: vec![grant, policy],
    })
}

/// Returns the certificates that `vctl ssh` requests: those for jump hosts are optional if it also tries the direct route.
fn certificates_of(plan: &RoutePlan) -> Vec<CertificateNeed> {
    let jumps = plan.jumps.iter().map(|jump| (Some(jump), jump));
    let hops = jumps.chain([(None, &plan.target)]);
    let certificates = hops.map(|(jump, hop)| CertificateNeed {
        jump: jump.map(|jump| jump.name.clone()),
        optional: jump.is_some() && plan.direct,
        needs: hop
            .roles
            .iter()
            .map(|role| {
                let policy = role.scope.as_ref().map_or("vctl-ssh", |_| &role.name);
                Need::certificate_of(&hop.mount, &role.name, policy)
            })
            .collect(),
    });
    certificates.collect()
}
