//! The manual pages of vctl-agent, and its help.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use clap::CommandFactory as _;
use vctl_common::manual::{self, Page, Program};

use crate::args::Cli;
use crate::config::{KEYS, TABLE};

const EXIT: &[(&str, &str)] = &[
    ("0", "success"),
    ("1", "failure, or a requirement of `check` that is not met"),
    ("2", "wrong usage"),
];

const FILES: &[(&str, &str)] = &[
    (
        "/etc/vctl/agent.yaml",
        "Settings; `--config` names another file.",
    ),
    (
        "/etc/pam.d/sshd",
        "The PAM stack of sshd, with the line that runs `vctl-agent stamp`.",
    ),
    ("/var/lib/vctl/spool", "The spool: what is recorded."),
    (
        "/var/lib/vctl/setup",
        "Journal of `vctl-agent setup`, with the old content of replaced files.",
    ),
    ("/run/vctl", "Sockets and status of the running agent."),
    ("/sys/fs/bpf/vctl", "The pinned probe."),
];

const RELATED: &[(&str, &[&str])] = &[
    ("collect", &["check", "stamp", "detach"]),
    ("stamp", &["collect", "pam_exec(8)"]),
    ("check", &["collect", "sshd_config(5)"]),
    ("setup", &["check", "pam-line", "sshd_config(5)"]),
    ("detach", &["collect"]),
    ("node", &["collect"]),
    ("ingest", &["collect", "nats-key", "nats-accounts"]),
    ("nats-key", &["nats-accounts", "ingest"]),
    ("nats-accounts", &["nats-key", "ingest"]),
];

fn program() -> Program {
    let variables = KEYS.iter().filter_map(|key| {
        let (first, _) = key.doc.split_once(". ").unwrap_or((key.doc, ""));
        let names = (TABLE.env)(key.name);
        (!names.is_empty()).then(|| (names.join(", "), first.to_owned()))
    });
    Program {
        section: "8",
        exit: EXIT,
        environment: variables.collect(),
        files: FILES,
        see_also: &["vctl(1)", "sshd(8)", "pam_exec(8)"],
        related: RELATED,
    }
}

fn pages() -> Vec<Page> {
    manual::pages(Cli::command(), &program())
}

/// Returns the page of the program, for man(1).
pub fn page() -> String {
    let pages = pages();
    let page = pages.iter().find(|page| page.name == "vctl-agent");
    page.map(Page::to_roff).unwrap_or_default()
}

/// Writes the pages of all commands.
pub fn write(directory: &Path) -> Result<()> {
    for page in pages() {
        let path = directory.join(page.file_name());
        fs::write(&path, page.to_roff())
            .with_context(|| format!("cannot write the manual page `{}`", path.display()))?;
    }
    Ok(())
}

/// Returns the page of a command as text, or the help of the program.
pub fn help(command: Option<&str>) -> Result<String> {
    let Some(command) = command else {
        return Ok(Cli::command().render_help().to_string());
    };
    let name = format!("vctl-agent-{command}");
    let Some(page) = pages().into_iter().find(|page| page.name == name) else {
        bail!("vctl-agent has no command `{command}`; `vctl-agent help` lists the commands");
    };
    let text = page.to_text(80);
    // Without bold headings: the output may be a pipe.
    Ok(text.replace("\x1b[1m", "").replace("\x1b[0m", ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_examples() {
        let pages = pages();
        for name in ["collect", "stamp", "check", "setup", "detach", "node"] {
            let text = help(Some(name)).unwrap();
            for part in [
                "NAME",
                "SYNOPSIS",
                "EXAMPLES",
                "EXIT STATUS",
                "SEE ALSO",
                "vctl-agent(8)",
            ] {
                assert!(text.contains(part), "{name}: {part}\n{text}");
            }
        }
        assert!(pages.len() >= 9, "{}", pages.len());
        assert!(page().contains(".SH FILES"));
        assert!(help(Some("colect")).is_err());
    }
}
