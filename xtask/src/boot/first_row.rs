//! From an empty Debian to the first attributed row, with the commands of `deploy/audit/README.md`.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::centre::PERSON;
use super::course::{COLLECT, Course, NODE};
use super::guest::EMULATED;
use crate::page_commands;

const PAGE: &str = "deploy/audit/README.md";
const HEADING: &str = "## From an empty host to the first record";
/// Most commands of the page.
const COMMANDS_MAX: usize = 10;
/// The host of the page.
const ADDRESS: &str = "192.0.2.10";

/// Limits of a unit as systemd reports them, without a change for the emulated CPU.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Unit {
    pub(super) name: String,
    pub(super) properties: Vec<(String, String)>,
    /// Exposure by `systemd-analyze security` with all drop-ins of `setup`.
    pub(super) exposure: String,
    /// Most memory that the unit used, in bytes, if its systemd reports it.
    pub(super) memory_peak: String,
}

const PROPERTIES: [&str; 5] = [
    "CPUQuotaPerSecUSec",
    "MemoryMax",
    "Restart",
    "StartLimitIntervalUSec",
    "NotifyAccess",
];

/// Returns the commands of the page.
pub(super) fn commands() -> Result<Vec<String>> {
    let commands = page_commands::below(Path::new("."), PAGE, HEADING)?;
    few(&commands)?;
    Ok(commands)
}

fn few(commands: &[String]) -> Result<()> {
    let count = commands.len();
    ensure!(
        count <= COMMANDS_MAX,
        "`{PAGE}` has {count} commands, more than {COMMANDS_MAX}"
    );
    Ok(())
}

/// Runs the commands of the page, and returns the units as the package installed them.
pub(super) fn run(course: &mut Course, commands: &[String]) -> Result<Vec<Unit>> {
    let home = course.desk.home().to_owned();
    let name = course.package.file_name().context("a package has a name")?;
    fs::copy(&course.package, home.join(name))?;
    fs::copy(
        course.centre.value("VCTL_VAULT_CA_CERT")?,
        home.join("ca.pem"),
    )?;
    // The stack has another host of this name.
    course.desk.run("vctl delete web-1 --yes")?;
    let mut units = Vec::new();
    for command in commands {
        let mut line = command.replace(ADDRESS, "127.0.0.1");
        if line == "vctl login" {
            // Single sign-on needs a browser.
            let password = &course.centre.password;
            line = format!("echo {password} | vctl login --username {PERSON} --password-stdin");
            course.desk.is_administrator = false;
        }
        if command.contains("vctl-agent setup") {
            let list = "find /etc -type f -exec sha256sum {} + | sort > /root/etc.before";
            course.guest.run(list)?;
        }
        let printed = course.desk.run(&line)?;
        if command.contains("host enroll") {
            let port = course.guest.port;
            course.desk.run(&format!("vctl edit web-1 --port {port}"))?;
        }
        if command.contains("dpkg -i") {
            units = vec![shipped(course, COLLECT)?, shipped(course, NODE)?];
            slow_down(course)?;
        }
        if command.contains("vctl-agent setup") {
            let report = &printed;
            ensure!(!report.contains("FAIL"), "`vctl-agent check`: {report}");
        }
    }
    Ok(units)
}

/// Reads a unit before the first start.
fn shipped(course: &Course, unit: &str) -> Result<Unit> {
    let state = course.property(unit, "UnitFileState")?;
    let active = course.property(unit, "ActiveState")?;
    ensure!(
        state == "disabled" && active == "inactive",
        "the package left {unit} {state} and {active}"
    );
    let mut properties = Vec::new();
    for name in PROPERTIES {
        properties.push((name.to_owned(), course.property(unit, name)?));
    }
    Ok(Unit {
        name: unit.to_owned(),
        properties,
        exposure: String::new(),
        memory_peak: String::new(),
    })
}

/// Gives the units what an emulated CPU needs.
fn slow_down(course: &Course) -> Result<()> {
    for (path, text) in EMULATED {
        course.guest.run(&format!(
            "mkdir -p $(dirname /{path}) && cat > /{path} <<'END'\n{text}END"
        ))?;
    }
    course.guest.run("systemctl daemon-reload").map(drop)
}

/// Adds the exposure and the memory of the running units.
pub(super) fn measure(course: &Course, units: &mut [Unit]) -> Result<String> {
    let mut seen = Vec::new();
    for unit in units {
        let name = &unit.name;
        let analyzed = course
            .guest
            .run(&format!("systemd-analyze security --no-pager {name}"))?;
        let last = analyzed.lines().last().unwrap_or_default();
        let exposure = last
            .split_whitespace()
            .find(|word| word.parse::<f64>().is_ok());
        exposure
            .with_context(|| format!("`systemd-analyze security` printed: {last}"))?
            .clone_into(&mut unit.exposure);
        unit.memory_peak = course.guest.run(&format!(
            "cat /sys/fs/cgroup/system.slice/{name}/memory.peak || echo -"
        ))?;
        if unit.memory_peak.parse::<u64>().is_err() {
            unit.memory_peak.clear();
        }
        seen.push(format!("{name} {}", unit.exposure));
    }
    Ok(seen.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_at_most_ten_commands() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut commands = page_commands::below(&root, PAGE, HEADING).unwrap();
        for part in ["host enroll", "dpkg -i", "vctl-agent setup", "vctl ssh"] {
            assert!(commands.iter().any(|it| it.contains(part)), "{part}");
        }
        few(&commands).unwrap();
        commands.resize(COMMANDS_MAX + 1, String::new());
        assert!(few(&commands).is_err());
    }
}
