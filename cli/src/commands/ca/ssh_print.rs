//! `vctl ca ssh-print`: the public keys of the SSH CA.

use std::io::Write as _;

use serde::Serialize;

use crate::centre::context;
use crate::config;
use crate::config::globals::Globals;
use crate::error::Stop;
use crate::ssh_ca::{self, Authority, Source};
use crate::ui::Screen;
use crate::ui::format::OutputFormat;
use crate::ui::help::TEMPLATE;
use crate::ui::records;
use crate::ui::records::Records;

/// Print the public key of the SSH CA
///
/// Prints one key a line, as sshd's `TrustedUserCAKeys` expects. During a rotation there are two keys, and
/// hosts must trust both. Vault publishes the keys, so you need no login. Compare the fingerprint and the
/// address of Vault, which vctl prints on stderr.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl ca ssh-print > /etc/ssh/vault-ca.pub    Write a file for sshd
  vctl ca ssh-print -o json                    With fingerprints and mounts
  vctl ca ssh-print -o name                    Print only the fingerprints")]
pub(super) struct SshPrintArgs {
    /// Output format
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t)]
    output: OutputFormat,
}

pub(super) fn run(args: &SshPrintArgs, globals: &Globals) -> Result<(), Stop> {
    let loaded = globals.load()?;
    let settings = config::settings(&loaded).vault;
    let ask = async { Ok(ssh_ca::published(&settings).await?) };
    let authorities = context::run_without_store(ask)?;
    Source::of(&settings).tell(&authorities);
    let mut screen = Screen::for_programs();
    for authority in &authorities {
        match args.output {
            OutputFormat::Table => writeln!(screen, "{}", authority.line())?,
            OutputFormat::Wide => writeln!(
                screen,
                "# {} at {}/\n{}",
                authority.fingerprint(),
                authority.mount,
                authority.line()
            )?,
            _ => {}
        }
    }
    records::write(&mut screen, args.output, &Authorities, &authorities)?;
    Ok(screen.flush()?)
}

struct Authorities;

#[derive(Serialize)]
struct AuthorityJson<'a> {
    fingerprint: String,
    kind: String,
    public_key: String,
    mount: &'a str,
}

impl Records for Authorities {
    const NAME: &'static str = "authorities";
    const VERSION: u32 = 1;
    const COLUMNS: &'static [&'static str] = &["fingerprint", "kind", "public_key", "mount"];
    type Record = Authority;

    fn json(&self, authority: &Authority) -> impl Serialize {
        shown(authority)
    }

    fn name(&self, authority: &Authority) -> String {
        authority.fingerprint()
    }
}

fn shown(authority: &Authority) -> AuthorityJson<'_> {
    AuthorityJson {
        fingerprint: authority.fingerprint(),
        kind: authority.kind(),
        public_key: authority.line(),
        mount: &authority.mount,
    }
}
