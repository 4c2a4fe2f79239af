//! The parts of the manual pages that are not in the command line: files, environment, see also.

use vctl_common::manual::Program;

use crate::config;
use crate::exit_code::MEANINGS;

const FILES: &[(&str, &str)] = &[
    (
        "~/.config/vctl/config.yaml, /etc/vctl/config.yaml",
        "Settings; `vctl config` shows the settings in effect.",
    ),
    (
        ".vctl/config.yaml",
        "Settings of the current directory, after `vctl config trust`.",
    ),
    (
        "~/.vctl/token",
        "The token of the last login, and when it expires.",
    ),
    (
        "~/.vctl/token-sink",
        "Only the token; `vctl agent` keeps it valid.",
    ),
    ("~/.vctl/inventory.json", "The cached hosts: `vctl cache`."),
    (
        "~/.vctl/grants.json",
        "The grants of this user, and when Postgres confirmed them.",
    ),
    (
        "~/.vctl/recent.json",
        "Hosts, sessions and users of the last commands, for completion and the host picker.",
    ),
    (
        "~/.vctl/ssh/config",
        "Written by `vctl ssh-config --install`, and included in ~/.ssh/config.",
    ),
];

const RELATED: &[(&str, &[&str])] = &[
    ("login", &["logout", "whoami", "status", "token"]),
    ("logout", &["login"]),
    ("whoami", &["login", "status", "token"]),
    ("status", &["doctor", "whoami", "fleet"]),
    ("doctor", &["status", "config"]),
    ("ssh", &["list", "ssh-config", "audit", "ssh(1)"]),
    ("ssh-config", &["ssh", "proxy", "ssh_config(5)"]),
    ("ssh-agent", &["ssh-config", "proxy", "ssh-agent(1)"]),
    ("proxy", &["ssh-config", "ssh-agent", "ssh_config(5)"]),
    ("known-hosts", &["ssh-config", "ca-host-cert", "sshd(8)"]),
    ("exec", &["token", "agent"]),
    ("token", &["login", "exec", "agent"]),
    ("agent", &["exec", "token"]),
    ("list", &["add", "edit", "sync", "ssh", "cache"]),
    ("add", &["list", "edit", "delete", "sync"]),
    ("edit", &["add", "delete", "dbedit"]),
    ("delete", &["add", "edit"]),
    ("dbedit", &["edit"]),
    ("sync", &["list", "add", "ssh_config(5)"]),
    ("cache", &["list"]),
    ("session", &["audit", "fleet"]),
    ("audit", &["session"]),
    ("audit-verify", &["session"]),
    ("fleet", &["status", "host", "vctl-agent(8)"]),
    ("retention", &["prune"]),
    ("prune", &["retention"]),
    ("trust-ca", &["ca", "host", "sshd_config(5)"]),
    ("host", &["fleet", "trust-ca", "vctl-agent(8)"]),
    ("ca", &["trust-ca"]),
    ("node-agent", &["vctl-agent-node(8)"]),
    ("rbac", &["ssh", "whoami", "revoke"]),
    (
        "revoke",
        &["session", "rbac", "sshd_config(5)", "ssh-keygen(1)"],
    ),
    ("config", &["doctor"]),
    ("migrate", &["doctor"]),
    ("completions", &["man"]),
    ("man", &["help", "man(1)"]),
    ("help", &["man"]),
];

/// Returns the parts that each page adds to its command.
pub(crate) fn program() -> Program {
    let mut environment = config::environment();
    let others = [
        ("VAULT_TOKEN", "A token to use instead of the cached one"),
        ("NO_COLOR", "Do not print colours, if set and not empty"),
        (
            "LC_ALL, LC_CTYPE, LANG",
            "The locale; without UTF-8, text for people is ASCII only",
        ),
    ];
    environment.extend(others.map(|(name, text)| (name.to_owned(), text.to_owned())));
    Program {
        section: "1",
        exit: &MEANINGS,
        environment,
        files: FILES,
        see_also: &["vctl-agent(8)", "ssh(1)"],
        related: RELATED,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use vctl_common::manual::{Block, Page};

    use super::*;
    use crate::args;

    fn pages() -> Vec<Page> {
        vctl_common::manual::pages(args::command(), &program())
    }

    #[test]
    fn every_related_page_exists() {
        let pages = pages();
        let names: BTreeSet<String> = pages
            .iter()
            .map(|page| format!("{}(1)", page.name))
            .collect();
        for page in &pages {
            let related = page.sections.iter().find(|one| one.title == "SEE ALSO");
            let Some(Block::Paragraph(text)) = related.map(|section| &section.blocks[0]) else {
                panic!("{}", page.name);
            };
            for name in text
                .split(", ")
                .filter(|name| name.starts_with("vctl-") && name.ends_with("(1)"))
            {
                assert!(names.contains(name), "{}: {name}", page.name);
            }
        }
        let commands: BTreeSet<String> = names
            .iter()
            .map(|name| name.replace("vctl-", "").replace("(1)", ""))
            .collect();
        for (name, _) in RELATED {
            assert!(commands.contains(*name), "{name}");
        }
    }

    #[test]
    fn every_page_has_the_usual_sections() {
        for page in pages() {
            let titles: Vec<&str> = page.sections.iter().map(|one| one.title).collect();
            for title in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "SEE ALSO"] {
                assert!(titles.contains(&title), "{}: {title}", page.name);
            }
            let text = page.to_text(80);
            let is_whole = page.name == "vctl";
            assert_eq!(text.contains("--debug-timing"), is_whole, "{}", page.name);
        }
    }
}
