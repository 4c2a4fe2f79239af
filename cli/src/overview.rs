//! The help of `vctl` without a command: examples, then the commands in groups.

use std::fmt::Write as _;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::exit_code::MEANINGS;

const EXAMPLES: &str = "\
Examples:
  vctl login                      Log in to Vault with a browser
  vctl ssh web-1                  Log in to a host of the inventory
  vctl ssh-config --install       Make ssh, scp, git and others use vctl
  vctl status                     Show whether you are logged in and all works
  vctl exec -- terraform apply    Run a command with a Vault token
  vctl list                       List the hosts by data centre
  vctl audit --since 1d           List the accesses of the last day
  vctl session 7341 --tree        Show the processes of certificate 7341
  vctl help ssh                   Print the manual page of a command
";

/// The groups of commands. Each command is in one group.
const GROUPS: [(&str, &[&str]); 6] = [
    (
        "Access",
        &[
            "login", "logout", "whoami", "status", "ssh", "exec", "token", "agent", "mcp",
        ],
    ),
    (
        "OpenSSH",
        &["ssh-config", "known-hosts", "proxy", "ssh-agent"],
    ),
    (
        "Inventory",
        &["list", "add", "edit", "delete", "dbedit", "sync", "cache"],
    ),
    (
        "Records",
        &["session", "audit", "fleet", "retention", "prune"],
    ),
    (
        "Hosts and authorities",
        &["trust-ca", "host", "ca", "node-agent", "rbac", "revoke"],
    ),
    (
        "Setup and help",
        &[
            "doctor",
            "config",
            "migrate",
            "completions",
            "man",
            "help",
            "version",
        ],
    ),
];

/// Names of our commands in other programs, for suggestions.
const SYNONYMS: [(&str, &str); 14] = [
    ("hosts", "list"),
    ("inventory", "list"),
    ("show", "list"),
    ("connect", "ssh"),
    ("shell", "ssh"),
    ("log", "audit"),
    ("logs", "audit"),
    ("history", "session"),
    ("replay", "session"),
    ("me", "whoami"),
    ("who", "whoami"),
    ("rm", "delete"),
    ("check", "doctor"),
    ("import", "sync"),
];

/// Adds examples, groups and exit statuses to the help of `vctl`.
pub(crate) fn described(command: Command) -> Command {
    let mut groups = "Commands:\n".to_owned();
    for (title, names) in GROUPS {
        let _ = writeln!(groups, " {title}:");
        for name in names {
            let about = command.find_subcommand(name).and_then(Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(groups, "  {name:<12}  {about}");
        }
    }
    let mut after = "Exit status:\n".to_owned();
    for (status, meaning) in MEANINGS {
        let _ = writeln!(after, " {status:>3}  {meaning}");
    }
    after += "\nWith `-o json` or `--json`, an error is one line of JSON on stderr:\n\
        {\"error\":{\"code\":STATUS,\"message\":..,\"causes\":[..],\"hint\":..}}";
    let template = format!(
        "{{about-with-newline}}\n{EXAMPLES}\n{{usage-heading}} {{usage}}\n\n{groups}\nOptions:\n{{options}}{{after-help}}"
    );
    // The manual page takes the examples from `before_help`.
    let command = command.before_help(EXAMPLES).after_help(after);
    // The width is also used for a pipe: its reader is often a pager on this terminal.
    let width = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0));
    command.help_template(template).term_width(width.min(100))
}

/// Adds a suggestion to the error about an unknown command in `words`.
pub(crate) fn suggest(error: &mut clap::Error, root: &Command, words: &[String]) {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return;
    }
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return;
    };
    let word = word.clone();
    let mut parent = root;
    for known in words {
        if *known == word {
            break;
        }
        parent = parent.find_subcommand(known).unwrap_or(parent);
    }
    error.remove(ContextKind::Suggested);
    error.remove(ContextKind::SuggestedSubcommand);
    if let Some(name) = nearest(&word, parent) {
        let value = ContextValue::Strings(vec![name]);
        error.insert(ContextKind::SuggestedSubcommand, value);
    }
}

/// Returns the subcommand of `parent` whose name is most like `word`, ignoring case.
pub(crate) fn nearest(word: &str, parent: &Command) -> Option<String> {
    let word = word.trim_start_matches('-').to_lowercase();
    let shown = parent.get_subcommands().filter(|one| !one.is_hide_set());
    let names: Vec<&str> = shown
        .flat_map(|one| [one.get_name()].into_iter().chain(one.get_all_aliases()))
        .collect();
    let synonym = SYNONYMS.iter().find(|(known, _)| *known == word);
    let synonym = synonym.filter(|(_, name)| names.contains(name));
    if let Some((_, name)) = synonym {
        return Some((*name).to_owned());
    }
    // Matches `sess`, `sessions`, and `rotate` for `ssh-rotate`.
    let is_part = |name: &&&str| {
        (word.len() > 2 && name.starts_with(&word))
            || (word.len() > 3 && name.contains(&word))
            || (name.len() > 2 && word.starts_with(**name))
    };
    let of_part = names.iter().filter(is_part).min_by_key(|name| name.len());
    let distance = |name: &&str| strsim::damerau_levenshtein(name, &word);
    let of_distance = names.iter().copied().min_by_key(|name| distance(name));
    // Up to a third of the letters may be wrong.
    let is_like = |name: &&str| distance(name) * 3 <= word.len().max(3);
    let name = of_distance.filter(|name| distance(name) == 0);
    let name = name.or(of_part.copied()).or(of_distance.filter(is_like));
    name.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::args;

    #[test]
    fn each_command_is_in_one_group() {
        let command = args::command();
        let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
        let shown: BTreeSet<&str> = shown.map(Command::get_name).collect();
        let grouped = GROUPS.iter().flat_map(|(_, names)| names.iter().copied());
        let grouped: Vec<&str> = grouped.collect();
        assert_eq!(shown, grouped.iter().copied().collect());
        assert_eq!(shown.len(), grouped.len());
    }

    #[test]
    fn the_help_fits_80_columns() {
        for help in [
            args::command().term_width(80).render_help(),
            args::command().term_width(80).render_long_help(),
        ] {
            let help = help.to_string();
            assert!(help.find("Examples:") < help.find("Commands:"), "{help}");
            assert!(help.find(" Access:") < help.find("Options:"), "{help}");
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }

    #[test]
    fn the_help_of_each_command_fits_80_columns() {
        let mut root = args::command();
        root.build();
        let mut left: Vec<&Command> = root.get_subcommands().collect();
        let mut count = 0;
        while let Some(command) = left.pop() {
            // clap breaks longer lines, which destroys a table of examples.
            let fixed = [command.get_before_help(), command.get_after_help()];
            for text in fixed.into_iter().flatten().map(ToString::to_string) {
                for line in text.lines() {
                    let width = line.chars().count();
                    assert!(width <= 80, "{}: {line}", command.get_name());
                }
            }
            let help = command.clone().term_width(80).render_long_help();
            for line in help.to_string().lines() {
                let width = line.chars().count();
                assert!(width <= 80, "{}: {line}", command.get_name());
            }
            left.extend(command.get_subcommands());
            count += 1;
        }
        assert!(count > 30);
    }

    #[test]
    fn a_typing_error_suggests_a_command() {
        let root = args::command();
        for (word, expected) in [
            ("VERSION", Some("version")),
            ("vesion", Some("version")),
            ("Whoami", Some("whoami")),
            ("who", Some("whoami")),
            ("HELP", Some("help")),
            ("sessions", Some("session")),
            ("sess", Some("session")),
            ("hosts", Some("list")),
            ("lsit", Some("list")),
            ("sh", Some("ssh")),
            ("statsu", Some("status")),
            ("logn", Some("login")),
            ("frobnicate", None),
            ("rbc", Some("rbac")),
        ] {
            assert_eq!(nearest(word, &root).as_deref(), expected, "{word}");
        }
        let ca = root.find_subcommand("ca").unwrap();
        assert_eq!(nearest("Instal", ca).as_deref(), Some("install"));
        assert_eq!(nearest("rotate", ca).as_deref(), Some("ssh-rotate"));
        assert_eq!(nearest("inventory", ca), None);
    }
}
