//! `vctl ca host-cert`: signs the host key of a host.

use std::io::{Read as _, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use russh::keys::PublicKey;
use vctl_common::centre::DbRole;
use vctl_common::foreign_file::{self, Pipes};

use crate::centre::context;
use crate::centre::context::Context;
use crate::commands::duration_arg::within;
use crate::commands::operator_ssh::OperatorSshArgs;
use crate::completion;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::inventory;
use crate::inventory::lookup::HostLookup;
use crate::process::descriptor::Descriptor;
use crate::ssh::{self, HostSelector, RoutePlan};
use crate::ssh_ca::host_certificate::{HostCertificate, HostCertificateRequest};
use crate::trust_ca;
use crate::trust_ca::bootstrap;
use crate::ui::ask::Interaction;
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice, time};

/// Command that prints a host key, of the preferred type first.
const FETCH: &str = "cat /etc/ssh/ssh_host_ed25519_key.pub || cat /etc/ssh/ssh_host_ecdsa_key.pub";

/// Sign the host key of a host with the SSH CA
///
/// With a host certificate, `vctl ssh` trusts the host without known_hosts, and users do not get a host-key
/// question. The certificate is valid for the host's name and its addresses in the inventory. Install it in
/// a file that `HostCertificate` of sshd_config names: docs/ssh-ca.md. Needs the policy `vctl-admin`.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl ca host-cert web-1 > web-1-cert.pub    Get the host key with your own ssh
  vctl ca host-cert web-1 --key key.pub       Use a key file on this machine
  vctl ssh web-1 -- cat /etc/ssh/ssh_host_ed25519_key.pub |
    vctl ca host-cert web-1 --key -")]
pub(super) struct HostCertArgs {
    /// Name of a host of the inventory
    #[arg(value_name = "HOST", add = completion::host())]
    host: String,

    /// File with the public host key; `-` is standard input
    #[arg(long = "key", value_name = "FILE", conflicts_with_all = ["user", "port", "key", "direct"])]
    file: Option<PathBuf>,

    #[command(flatten)]
    reach: OperatorSshArgs,

    /// Validity of the certificate, 1h to 366d
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = ttl)]
    ttl: Duration,

    /// Additional name in the certificate; repeat for several
    #[arg(long = "principal", value_name = "NAME", value_parser = principal)]
    principals: Vec<String>,
}

pub(super) fn run(args: &HostCertArgs, globals: &Globals) -> Result<(), Stop> {
    let loaded = globals.load()?;
    let interaction = globals.interaction();
    let certificate = context::run(globals, async |context| {
        // Before Vault signs: a rotation must know every host certificate.
        let client = context.connect_as(DbRole::Rw).await?;
        let wanted = HostSelector::Exact(args.host.clone());
        let lookup = HostLookup::new(context)?;
        let plan = ssh::look_up(&lookup, &loaded.config, &wanted, interaction);
        let plan = plan.await?.plan;
        let key = args.key(&plan, interaction).await?;
        let name = &plan.target.name;
        let principals = args.principals(context, name).await?;
        let wish = HostCertificateRequest {
            host: name,
            key: &key,
            principals,
            ttl: args.ttl,
        };
        let issued = HostCertificate::issue(context.vault(), &plan.target.mount, &wish).await?;
        trust_ca::store::certified(&client, name, &issued).await?;
        Ok(issued)
    })?;
    let mut screen = Screen::for_programs();
    writeln!(screen, "{}", certificate.line())?;
    notice::note(&format!(
        "signed for {}, until {}; set `HostCertificate FILE` in the host's sshd_config",
        certificate.principals.join(", "),
        time::seconds(certificate.valid_before)
    ));
    Ok(screen.flush()?)
}

impl HostCertArgs {
    async fn key(&self, plan: &RoutePlan, interaction: Interaction) -> Result<PublicKey, CliError> {
        let (from, text) = if let Some(path) = &self.file {
            (path.display().to_string(), read(path)?)
        } else {
            let mut to = self.reach.destination(plan, false)?;
            let asked = bootstrap::ask(&mut to, &format!("sh -c '{FETCH}'"), interaction).await;
            let text = asked.map_err(|error| with_vctl_hint(error, &to.name))?;
            (to.name, text)
        };
        let key = ssh::key_of_line(text.trim().as_bytes()).map(PublicKey::from);
        key.ok_or_else(|| {
            let message = format!("`{from}` does not contain an SSH public key");
            CliError::new(Exit::Usage, message)
        })
    }

    /// Returns the names in the certificate: name and addresses of the inventory, and `--principal`. Addresses
    /// that the agent reports are left out: a host could report the address of another host.
    async fn principals(&self, context: &Context, name: &str) -> Result<Vec<String>, Stop> {
        let client = context.connect_as(DbRole::Ro).await?;
        let found = inventory::store::find(&client, name).await?;
        let mut principals = vec![name.to_owned()];
        for host in found.iter().filter(|host| host.name == name) {
            let addresses = std::iter::once(&host.ip).chain(&host.extra_ips);
            principals.extend(addresses.map(IpAddr::to_string));
        }
        principals.extend(self.principals.iter().cloned());
        let mut seen = std::collections::BTreeSet::new();
        principals.retain(|principal| seen.insert(principal.clone()));
        Ok(principals)
    }
}

/// Adds a hint: a host that already trusts the CA may not accept the operator's own keys.
fn with_vctl_hint(error: CliError, host: &str) -> CliError {
    let instead = format!(
        "vctl ssh {host} -- cat /etc/ssh/ssh_host_ed25519_key.pub | vctl ca host-cert {host} --key -"
    );
    match error.exit {
        Exit::Transport => error.hint(format!(
            "see ssh's message above; give a key that the host accepts with `-i KEY`, or, if the host trusts the CA: `{instead}`"
        )),
        _ => error,
    }
}

fn read(path: &Path) -> Result<String, CliError> {
    let read = if path == Path::new("-") {
        let mut text = Vec::new();
        let read = Descriptor::stdin().and_then(|mut stdin| stdin.read_to_end(&mut text));
        read.map(|_| text)
    } else {
        const MOST: u64 = 1 << 16;
        foreign_file::read(path, MOST, Pipes::Allowed)
    };
    // The key is ASCII, but its comment may have any encoding.
    let text =
        read.map(|text| String::from_utf8_lossy(foreign_file::without_mark(&text)).into_owned());
    text.map_err(|error| {
        let message = format!("cannot read the host key in `{}`", path.display());
        CliError::new(Exit::NotFound, message).caused_by(&error)
    })
}

fn ttl(text: &str) -> Result<Duration, String> {
    within(
        text,
        Duration::from_hours(1),
        Duration::from_hours(366 * 24),
    )
}

/// Parses a principal. Vault separates principals by commas, and a pattern could match other hosts.
fn principal(text: &str) -> Result<String, String> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b".:_-".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_letter) {
        Ok(text.to_lowercase())
    } else {
        Err("expected a name or an address: letters, digits, `.`, `:`, `_` and `-`".to_owned())
    }
}
