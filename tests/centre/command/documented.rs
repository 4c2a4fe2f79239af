//! Each command in a page, a unit or a message is a command that the programs have.
//!
//! The spec runs each command line with `--help`. The program refuses an unknown word before it prints the help, and
//! does nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use vctl_tests::lab::Programs;

/// Commands that contain the command line of another program. Only their first word is checked.
const WRAPPERS: &[&str] = &["ssh", "exec"];

#[test]
fn every_documented_command_exists() {
    let mut lines = BTreeMap::new();
    for path in texts() {
        let Ok(text) = fs::read_to_string(repository().join(&path)) else {
            continue;
        };
        for line in command_lines(&path, &text) {
            lines.entry(line).or_insert_with(|| path.clone());
        }
    }
    assert!(lines.len() > 150, "only {} were found", lines.len());
    let unknown: Vec<_> = lines
        .iter()
        .filter_map(|(line, path)| Some(format!("{}: {}", path.display(), refused(line)?)))
        .collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[test]
fn an_undocumented_word_is_refused() {
    for line in [
        "vctl rbac frobnicate x",
        "vctl session --nosuch",
        "vctl ssh --nosuch web-1 -- true",
        "vctl-agent collect --nosuch",
        "vctl host vanish web-1",
    ] {
        let page = format!("Text.\n```sh\nsudo {line} | head\n```\n");
        let found = command_lines(Path::new("a.md"), &page);
        assert!(found.iter().any(|line| refused(line).is_some()), "{line}");
        let span = format!("See `{line}`.");
        let found = command_lines(Path::new("a.md"), &span);
        assert!(found.iter().any(|line| refused(line).is_some()), "{line}");
    }
}

/// Runs the program, and returns its error about an unknown word.
fn refused(line: &str) -> Option<String> {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    if words.len() > 2 && WRAPPERS.contains(&words[1]) {
        let host = words.iter().skip(2).position(|word| !word.starts_with('-'));
        words.truncate(host.map_or(words.len(), |at| at + 3));
    }
    words.retain(|word| !["--", "help"].contains(word));
    let output = help(&words);
    let said = String::from_utf8_lossy(&output.stderr);
    let unknown = ["unexpected argument", "unrecognized subcommand"];
    unknown
        .iter()
        .any(|complaint| said.contains(complaint))
        .then(|| format!("`{line}`: {}", said.lines().next().unwrap_or_default()))
}

fn help(words: &[&str]) -> Output {
    let programs = Programs::find().unwrap();
    let program = match words[0] {
        "vctl" => programs.vctl,
        _ => programs.agent,
    };
    Command::new(program)
        .args(&words[1..])
        .arg("--help")
        .env_clear()
        .env("HOME", "/nonexistent")
        .output()
        .unwrap()
}

/// Returns the commands of this project in a text: those in code blocks and between backticks.
fn command_lines(path: &Path, text: &str) -> Vec<String> {
    let is_page = path.extension().is_some_and(|extension| extension == "md");
    let mut found = Vec::new();
    let mut block = None;
    for line in text.lines() {
        let fence = line.trim_start().strip_prefix("```").filter(|_| is_page);
        if let Some(language) = fence {
            block = block.is_none().then_some(language);
        } else if let Some(language) = block {
            // In other blocks, only the text after a prompt is a command.
            if language != "sh" && !line.starts_with("$ ") {
                continue;
            }
            let code = line.split(" # ").next().unwrap_or_default();
            found.extend(simple_commands(code));
        } else {
            let spans = line.split('`').skip(1).step_by(2);
            found.extend(spans.flat_map(simple_commands));
        }
    }
    found
}

/// Splits a shell line into its commands, and returns those of this project.
fn simple_commands(code: &str) -> Vec<String> {
    let parts = code.split(['|', ';', '&', '(', ')', '<', '>', '"', '\'']);
    let ours = parts.filter_map(|part| {
        let mut words = part
            .split_whitespace()
            .skip_while(|word| ["sudo", "$", "exec", "eval"].contains(word) || word.contains('='));
        let program = words.next()?;
        let name = program.rsplit('/').next()?;
        if !["vctl", "vctl-agent"].contains(&name) {
            return None;
        }
        // A placeholder is a word, but a note on the line is not.
        let words: Vec<&str> = words
            .map(|word| word.trim_matches(['[', ']', ',', '.', ':', '…']))
            .take_while(|word| !word.starts_with('#'))
            .filter(|word| !word.is_empty() && !word.starts_with(['{', '\\']))
            .collect();
        // An AppArmor profile and a pipeline in prose are not commands.
        if !words
            .first()?
            .starts_with(|c: char| c.is_ascii_lowercase() || c == '-')
        {
            return None;
        }
        Some([&[name], &words[..]].concat().join(" "))
    });
    ours.collect()
}

/// Returns the files with commands for users and administrators.
fn texts() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files", "--cached", "--others"])
        .arg("--exclude-standard")
        .current_dir(repository())
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let kinds = [
        "md", "rs", "sh", "service", "conf", "timer", "yaml", "tf", "hcl",
    ];
    let is_text = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| kinds.contains(&extension))
    };
    let is_ours = |path: &PathBuf| {
        !["tests", "docs/bench"]
            .iter()
            .any(|other| path.starts_with(other))
    };
    listed
        .lines()
        .map(PathBuf::from)
        .filter(|path| is_text(path) && is_ours(path))
        .collect()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}
