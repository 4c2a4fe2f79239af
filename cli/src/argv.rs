//! Changes to the arguments before parsing: the command of `vctl ssh`, the program `dbedit` and its old flag.

use std::ffi::OsString;
use std::path::Path;

use clap::{Args as _, Command};

use crate::commands::ssh::SshArgs;
use crate::config::globals::Globals;

/// Returns the arguments of this process, ready for the parser.
pub(crate) fn rewritten() -> Vec<OsString> {
    let words = std::env::args_os().collect();
    separated(with_column_flag(as_command(words)))
}

/// Returns the arguments of `vctl dbedit` if the program was called by its link `dbedit`.
fn as_command(mut words: Vec<OsString>) -> Vec<OsString> {
    let name = words
        .first()
        .and_then(|program| Path::new(program).file_name());
    if name.is_some_and(|name| name == "dbedit") {
        words.insert(1, OsString::from("dbedit"));
    }
    words
}

/// Replaces `-col` of `dbedit`, its old spelling with one dash.
fn with_column_flag(words: Vec<OsString>) -> Vec<OsString> {
    let globals = Globals::augment_args(Command::new("vctl"));
    let command = next_plain(&words, 1, &globals);
    // Another command may have `dbedit` and `-col` in the arguments of a program.
    if command.is_none_or(|at| words[at] != "dbedit") {
        return words;
    }
    let words = words.into_iter().map(|word| {
        if word == "-col" {
            OsString::from("--col")
        } else {
            word
        }
    });
    words.collect()
}

/// Inserts `--` before the remote command of `vctl ssh`: before the first word after the host that is not
/// an option. OpenSSH does not need `--` either.
fn separated(mut words: Vec<OsString>) -> Vec<OsString> {
    let globals = Globals::augment_args(Command::new("vctl"));
    let Some(command) = next_plain(&words, 1, &globals) else {
        return words;
    };
    if words[command] != "ssh" {
        return words;
    }
    let options = Globals::augment_args(SshArgs::augment_args(Command::new("ssh")));
    let has_server = |to: usize| words[command..to].iter().any(is_server);
    let Some(first) = next_plain(&words, command + 1, &options) else {
        return words;
    };
    let place = if has_server(first) {
        Some(first)
    } else {
        next_plain(&words, first + 1, &options)
    };
    if let Some(place) = place {
        words.insert(place, OsString::from("--"));
    }
    words
}

fn is_server(word: &OsString) -> bool {
    word == "--server" || word.to_string_lossy().starts_with("--server=")
}

/// Returns the index of the next word that is neither an option nor its value, up to `--`.
fn next_plain(words: &[OsString], from: usize, options: &Command) -> Option<usize> {
    let mut at = from;
    while let Some(word) = words.get(at) {
        let word = word.to_string_lossy();
        at += match word.strip_prefix("--") {
            Some("") => return None,
            Some(long) => 1 + usize::from(is_followed_by_value(long, options)),
            None => match word.strip_prefix('-') {
                None | Some("") => return Some(at),
                Some(cluster) => 1 + usize::from(ends_before_value(cluster, options)),
            },
        };
    }
    None
}

fn is_followed_by_value(long: &str, options: &Command) -> bool {
    let mut options = options.get_arguments();
    let option = options.find(|option| option.get_long() == Some(long));
    option.is_some_and(|option| option.get_action().takes_values())
}

/// Returns whether the last of some one-letter options takes the next word as its value.
fn ends_before_value(cluster: &str, options: &Command) -> bool {
    let mut letters = cluster.chars();
    while let Some(letter) = letters.next() {
        let mut options = options.get_arguments();
        let option = options.find(|option| option.get_short() == Some(letter));
        if option.is_some_and(|option| option.get_action().takes_values()) {
            return letters.as_str().is_empty();
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn a_remote_command_needs_no_separator() {
        for (line, wanted) in [
            ("vctl ssh web-1 uptime -a", "vctl ssh web-1 -- uptime -a"),
            ("vctl ssh web-1 ls -l -- x", "vctl ssh web-1 -- ls -l -- x"),
            (
                "vctl ssh -t web-1 htop -d 5",
                "vctl ssh -t web-1 -- htop -d 5",
            ),
            (
                "vctl ssh -L 80:h:80 web-1 id",
                "vctl ssh -L 80:h:80 web-1 -- id",
            ),
            (
                "vctl ssh -qL80:h:80 web-1 id",
                "vctl ssh -qL80:h:80 web-1 -- id",
            ),
            (
                "vctl ssh -tl root web-1 id",
                "vctl ssh -tl root web-1 -- id",
            ),
            (
                "vctl ssh web-1 -l root id -u",
                "vctl ssh web-1 -l root -- id -u",
            ),
            (
                "vctl -v ssh web-1 ssh web-2",
                "vctl -v ssh web-1 -- ssh web-2",
            ),
            (
                "vctl ssh --server web-1 id",
                "vctl ssh --server web-1 -- id",
            ),
            (
                "vctl ssh --server=web-1 id",
                "vctl ssh --server=web-1 -- id",
            ),
            ("vctl ssh web-1 - x", "vctl ssh web-1 -- - x"),
        ] {
            assert_eq!(separated(words(line)), words(wanted), "{line}");
        }
    }

    #[test]
    fn other_command_lines_stay_as_they_are() {
        for line in [
            "vctl",
            "vctl ssh",
            "vctl ssh web-1",
            "vctl ssh web-1 -- uptime -a",
            "vctl ssh -- uptime",
            "vctl ssh -N -L 80:h:80 web-1",
            "vctl ssh web-1 -L 80:h:80",
            "vctl ssh --server web-1 -- uptime",
            "vctl exec ssh web-1 uptime",
            "vctl list ssh x y",
        ] {
            assert_eq!(separated(words(line)), words(line), "{line}");
        }
    }

    #[test]
    fn the_link_dbedit_is_the_command_of_that_name() {
        let line = as_command(words("/usr/bin/dbedit -col dc web-1=seoul"));
        assert_eq!(line, words("/usr/bin/dbedit dbedit -col dc web-1=seoul"));
        let other = words("/opt/dbedit/vctl list");
        assert_eq!(as_command(other.clone()), other);
    }

    #[test]
    fn dbedit_keeps_its_old_flag() {
        let line = words("vctl dbedit web-1 -col ips");
        assert_eq!(with_column_flag(line), words("vctl dbedit web-1 --col ips"));
        for line in ["vctl exec -- dbedit -col x", "vctl ssh web-1 dbedit -col"] {
            assert_eq!(with_column_flag(words(line)), words(line), "{line}");
        }
    }
}
