//! `vctl ca`: the TLS root of this machine, and the SSH CA of Vault.

mod host_cert;
mod ssh_print;
mod refusal;
mod scopes;
mod ssh_rotate;

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use vctl_common::foreign_file::{self, Pipes};
use vctl_common::tls::BUILT_IN_CA;

use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::trust_store::{self, RootCa, StepError, StoreStep, System};
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice};

/// Manage the TLS root of this machine, and the SSH CA of Vault
///
/// If a TLS root was compiled into vctl, vctl trusts it. `install` adds it to the operating system, for browsers, curl
/// and the vault program. The SSH CA is a different CA: `vctl trust-ca` makes hosts trust it.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl ca print > root.pem             Print the TLS root of this vctl
  sudo vctl ca install                 Make this machine trust it
  sudo vctl ca install --file r.pem    Make this machine trust another root
  sudo vctl ca remove                  Remove the roots that `install` added
  vctl ca ssh-print                    Print the public key of the SSH CA
  vctl ca host-cert web-1              Sign the host key of web-1
  vctl ca ssh-rotate --plan            Show the state of a replacement of the CA", after_help = "\
Supports Debian, RHEL and their derivatives, and the login keychain of macOS
(without sudo).")]
pub(crate) struct CaArgs {
    #[command(subcommand)]
    command: CaCommand,
}

#[derive(Debug, Subcommand)]
enum CaCommand {
    /// Add the TLS root to the trust store of the operating system
    Install(StoreArgs),
    /// Remove every root that `vctl ca install` added, or the one of `--file`
    Remove(StoreArgs),
    /// Print the TLS root that was compiled into this vctl, in PEM format
    Print,
    SshPrint(ssh_print::SshPrintArgs),
    HostCert(Box<host_cert::HostCertArgs>),
    SshRotate(ssh_rotate::SshRotateArgs),
}

#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE)]
struct StoreArgs {
    /// PEM file with the root, instead of the root that was compiled in
    #[arg(long, value_name = "PEM")]
    file: Option<PathBuf>,

    /// Root directory of an image to change, instead of this machine
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

pub(crate) fn run(args: &CaArgs, globals: &Globals) -> Result<(), Stop> {
    match &args.command {
        CaCommand::SshPrint(args) => ssh_print::run(args, globals),
        CaCommand::HostCert(args) => host_cert::run(args, globals),
        CaCommand::SshRotate(args) => ssh_rotate::run(args, globals),
        CaCommand::Print => {
            let mut screen = Screen::for_programs();
            write!(screen, "{}", built_in()?)?;
            Ok(screen.flush()?)
        }
        CaCommand::Install(args) => Ok(install(args)?),
        CaCommand::Remove(args) => Ok(remove(args)?),
    }
}

fn install(args: &StoreArgs) -> Result<(), CliError> {
    let authorities = match &args.file {
        Some(path) => read(path)?,
        None => trust_store::read(Path::new("vctl"), built_in()?)?,
    };
    let system = system(args, "install")?;
    let steps = trust_store::install(&system, &authorities, &env::temp_dir());
    apply(&steps, "the root is not installed")?;
    for authority in &authorities {
        notice::note(&format!(
            "this system now trusts the root with SHA-256 {}",
            authority.fingerprint
        ));
    }
    Ok(())
}

fn remove(args: &StoreArgs) -> Result<(), CliError> {
    let authorities = match (&args.file, BUILT_IN_CA) {
        (Some(path), _) => read(path)?,
        (None, Some(pem)) => trust_store::read(Path::new("vctl"), pem)?,
        (None, None) => Vec::new(),
    };
    let system = system(args, "remove")?;
    let added = match args.file {
        Some(_) => Vec::new(),
        None => system.added(),
    };
    let steps = trust_store::remove(&system, &authorities, &added);
    let gone = steps
        .iter()
        .filter(|step| matches!(step, StoreStep::Remove { path } if path.exists()))
        .count();
    apply(&steps, "the root is not removed")?;
    match (gone, &system) {
        (0, System::Files { .. }) => notice::note("nothing to remove"),
        _ => notice::note("removed"),
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<RootCa>, CliError> {
    const MOST: u64 = 16 << 20;
    let pem = foreign_file::read(path, MOST, Pipes::Allowed).map_err(|error| {
        let message = format!("cannot read `{}`", path.display());
        CliError::new(Exit::NotFound, message).caused_by(&error)
    })?;
    let pem = String::from_utf8_lossy(foreign_file::without_mark(&pem));
    trust_store::read(path, &pem)
}

fn built_in() -> Result<&'static str, CliError> {
    BUILT_IN_CA.ok_or_else(|| {
        CliError::new(Exit::NotFound, "this vctl was built without a root CA")
            .hint("get the file from an administrator of Vault, then run `sudo vctl ca install --file FILE`")
    })
}

fn system(args: &StoreArgs, verb: &str) -> Result<System, CliError> {
    let root = fs::canonicalize(&args.root).map_err(|error| {
        let message = format!("cannot read directory `{}`", args.root.display());
        CliError::new(Exit::NotFound, message).caused_by(&error)
    })?;
    let system = System::find(&root).ok_or_else(|| {
        let message = format!(
            "`{}` has a trust store that vctl does not support",
            root.display()
        );
        CliError::new(Exit::Config, message).hint(
            "Debian: `apt-get install ca-certificates`; RHEL: `dnf install ca-certificates`; on other systems, import the output of `vctl ca print` with the system's own tool",
        )
    })?;
    if system.is_for_root() && !nix::unistd::geteuid().is_root() {
        let mut command = format!("sudo vctl ca {verb}");
        for (option, path) in [
            (" --file ", args.file.as_deref()),
            (" --root ", (root != Path::new("/")).then_some(&*root)),
        ] {
            let path = path.and_then(|path| std::path::absolute(path).ok());
            if let Some(path) = path {
                command += option;
                command += &path.display().to_string();
            }
        }
        let message = "only root can change the trust store of this system";
        return Err(CliError::new(Exit::Permission, message).hint(format!("`{command}`")));
    }
    Ok(system)
}

fn apply(steps: &[StoreStep], message: &str) -> Result<(), CliError> {
    trust_store::apply(steps).map_err(|failed| {
        let error = CliError::new(Exit::Failure, message).caused_by(&failed);
        match failed {
            StepError::Start { program, .. } => error.hint(format!(
                "install `{program}`: on Debian and RHEL, the package ca-certificates"
            )),
            _ => error,
        }
    })
}
