//! Where a rotation of the SSH CA stands.

use std::io::{self, Write};

use anstyle::Style;
use serde::Serialize;

use vctl_common::count::{counted, form};

use crate::ca_rotation::{Host, Key, Stage};
use crate::ui::paragraph;
use crate::ui::records::{Records, cells_of};
use crate::ui::time;

/// Hosts of one stage, for programs.
pub(crate) struct Standings<'a> {
    pub(crate) stage: &'a Stage,
}

#[derive(Serialize)]
struct HostJson<'a> {
    name: &'a str,
    /// Whether the next step waits for it.
    missing: bool,
    trusted: Vec<&'a str>,
    host_certificate_ca: Option<&'a str>,
}

impl Standings<'_> {
    /// Says whether the next step waits for a host.
    pub(crate) fn is_missing(&self, host: &Host) -> bool {
        match self.stage.to_go() {
            Some(leaving) => {
                host.trusted.contains(&leaving.fingerprint)
                    || host.vouched_by.as_ref() == Some(&leaving.fingerprint)
            }
            None => !host.trusted.contains(&self.stage.to_trust().fingerprint),
        }
    }

    fn shown<'a>(&self, host: &'a Host) -> HostJson<'a> {
        HostJson {
            name: &host.name,
            missing: self.is_missing(host),
            trusted: host.trusted.iter().map(String::as_str).collect(),
            host_certificate_ca: host.vouched_by.as_deref(),
        }
    }
}

impl Records for Standings<'_> {
    const NAME: &'static str = "hosts";
    const VERSION: u32 = 1;
    const COLUMNS: &'static [&'static str] = &["name", "missing", "trusted", "host_certificate_ca"];
    type Record = Host;

    fn json(&self, host: &Host) -> impl Serialize {
        self.shown(host)
    }

    fn cells(&self, host: &Host) -> Vec<String> {
        cells_of(&self.shown(host), Self::COLUMNS)
    }

    fn name(&self, host: &Host) -> String {
        host.name.clone()
    }
}

/// Writes what people want to know: which CAs there are, who is missing, what comes next.
pub(crate) fn write(
    out: &mut dyn Write,
    stage: &Stage,
    hosts: &[Host],
    width: Option<usize>,
) -> io::Result<()> {
    let line = |out: &mut dyn Write, key: &Key, what: &str| {
        let Key {
            fingerprint,
            mount,
            since,
            ..
        } = key;
        let since = time::seconds(*since);
        let text = format!("{fingerprint} at {mount}/ {what} since {since}");
        paragraph::write_beside(out, 2, &text, Style::new(), width)
    };
    let standings = Standings { stage };
    let (waits_for, next) = match stage {
        Stage::Resting { active, .. } => {
            line(out, active, "signs")?;
            (
                ("is not known to trust it", "are not known to trust it"),
                "--next` makes another one",
            )
        }
        Stage::Spreading { active, next } => {
            line(out, active, "signs")?;
            line(out, next, "is to come")?;
            let next = if hosts.iter().any(|host| standings.is_missing(host)) {
                "--next` tells those hosts"
            } else {
                "--next` has it sign"
            };
            (
                ("does not trust the next one", "do not trust the next one"),
                next,
            )
        }
        Stage::Moved { active, leaving } => {
            line(out, active, "signs")?;
            line(out, leaving, "is leaving")?;
            (
                (
                    "still depends on the one that is leaving",
                    "still depend on the one that is leaving",
                ),
                "--finish` takes it away",
            )
        }
    };
    let missing: Vec<&Host> = hosts
        .iter()
        .filter(|host| standings.is_missing(host))
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
