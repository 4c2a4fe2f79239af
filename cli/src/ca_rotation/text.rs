//! The stage of a rotation, as text and for programs.

use std::io::{self, Write};

use anstyle::Style;
use serde::Serialize;

use vctl_common::count::{counted, form};

use crate::ca_rotation::{CaKey, RotationHost, Stage};
use crate::error::Stop;
use crate::ui::format::OutputFormat;
use crate::ui::records::Records;
use crate::ui::{Screen, paragraph, records, time};

/// The hosts and the stage, for programs.
struct RotationHosts<'a> {
    stage: &'a Stage,
}

#[derive(Serialize)]
struct HostJson<'a> {
    name: &'a str,
    /// Whether the next step waits for this host.
    missing: bool,
    trusted: Vec<&'a str>,
    host_certificate_ca: Option<&'a str>,
}

impl RotationHosts<'_> {
    /// Returns whether the next step waits for the host.
    fn is_pending(&self, host: &RotationHost) -> bool {
        match self.stage.to_remove() {
            Some(leaving) => {
                host.trusted.contains(&leaving.fingerprint)
                    || host.certificate_ca.as_ref() == Some(&leaving.fingerprint)
            }
            None => !host.trusted.contains(&self.stage.to_trust().fingerprint),
        }
    }

    fn shown<'a>(&self, host: &'a RotationHost) -> HostJson<'a> {
        HostJson {
            name: &host.name,
            missing: self.is_pending(host),
            trusted: host.trusted.iter().map(String::as_str).collect(),
            host_certificate_ca: host.certificate_ca.as_deref(),
        }
    }
}

impl Records for RotationHosts<'_> {
    const NAME: &'static str = "hosts";
    const VERSION: u32 = 1;
    const COLUMNS: &'static [&'static str] = &["name", "missing", "trusted", "host_certificate_ca"];
    type Record = RotationHost;

    fn json(&self, host: &RotationHost) -> impl Serialize {
        self.shown(host)
    }

    fn name(&self, host: &RotationHost) -> String {
        host.name.clone()
    }
}

/// Prints the stage and the hosts. The format `name` has only the hosts that the next step waits for.
pub(crate) fn show(
    output: OutputFormat,
    stage: &Stage,
    hosts: &[RotationHost],
) -> Result<(), Stop> {
    if output.is_for_people() {
        let mut screen = Screen::for_people();
        let width = screen.layout(false).width;
        write(&mut screen, stage, hosts, width)?;
        return Ok(screen.flush()?);
    }
    let standings = RotationHosts { stage };
    let mut screen = Screen::for_programs();
    let mut hosts = hosts.to_vec();
    if output == OutputFormat::Name {
        hosts.retain(|host| standings.is_pending(host));
    }
    records::write(&mut screen, output, &standings, &hosts)?;
    Ok(screen.flush()?)
}

/// Writes the CAs, the hosts that the next step waits for, and the next command.
fn write(
    out: &mut dyn Write,
    stage: &Stage,
    hosts: &[RotationHost],
    width: Option<usize>,
) -> io::Result<()> {
    let line = |out: &mut dyn Write, key: &CaKey, what: &str| {
        let CaKey {
            fingerprint,
            mount,
            since,
            ..
        } = key;
        let since = time::seconds(*since);
        let text = format!("{fingerprint} at {mount}/ {what} since {since}");
        paragraph::write_beside(out, 2, &text, Style::new(), width)
    };
    let standings = RotationHosts { stage };
    let (waits_for, next) = match stage {
        Stage::Resting { active, .. } => {
            line(out, active, "signs")?;
            (
                ("is not known to trust it", "are not known to trust it"),
                "--next` creates the next CA",
            )
        }
        Stage::Spreading { active, next } => {
            line(out, active, "signs")?;
            line(out, next, "is the next CA")?;
            let next = if hosts.iter().any(|host| standings.is_pending(host)) {
                "--next` adds it to those hosts"
            } else {
                "--next` makes it sign"
            };
            (
                ("does not trust the next CA", "do not trust the next CA"),
                next,
            )
        }
        Stage::Moved { active, leaving } => {
            line(out, active, "signs")?;
            line(out, leaving, "is the old CA")?;
            (
                ("still depends on the old CA", "still depend on the old CA"),
                "--finish` removes the old CA",
            )
        }
    };
    let missing: Vec<&RotationHost> = hosts
        .iter()
        .filter(|host| standings.is_pending(host))
        .collect();
    writeln!(
        out,
        "{} of {} {}",
        missing.len(),
        counted(hosts.len(), "host"),
        form(missing.len(), waits_for.0, waits_for.1)
    )?;
    for host in missing {
        writeln!(out, "  {}", host.name)?;
    }
    writeln!(out, "next: `vctl ca ssh-rotate {next}")
}
