//! Manual pages and help: `man` reads the pages without a warning, and every command has a description.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use vctl_tests::lab::{Programs, skip};

use crate::fixture::programs::{stderr, stdout};

fn run(program: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    command
        .args(args)
        .env("LANG", "C.UTF-8")
        .env("HOME", "/nonexistent");
    command.output().unwrap()
}

/// Returns a page as a terminal of 80 columns shows it, and the warnings of `man`.
fn rendered(page: &Path) -> (String, String) {
    let output = Command::new("man")
        .args(["--warnings", "-l"])
        .arg(page)
        .env("MANWIDTH", "80")
        .env("LC_ALL", "C.UTF-8")
        .env("MAN_KEEP_FORMATTING", "")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}: {output:?}", page.display());
    (stdout(&output), stderr(&output))
}

#[test]
fn every_manual_page_is_read_without_a_warning() {
    if !Path::new("/usr/bin/groff").exists() || !Path::new("/usr/bin/man").exists() {
        skip("`man` or `groff` is not installed");
        return;
    }
    let programs = Programs::find().unwrap();
    let directory = tempfile::tempdir().unwrap();
    for program in [&programs.vctl, &programs.agent] {
        let to = directory.path().to_str().unwrap();
        let output = run(program, &["man", "--to", to]);
        assert!(output.status.success(), "{output:?}");
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (page, warnings) = rendered(&path);
        assert_eq!(warnings, "", "{name}");
        for title in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "SEE ALSO"] {
            assert!(
                page.lines().any(|line| line == title),
                "{name}: {title}\n{page}"
            );
        }
        let widest = page.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{name}: {widest:?}");
        let synopsis = page.split_once("SYNOPSIS").unwrap().1;
        let synopsis = synopsis.split_once("DESCRIPTION").unwrap().0;
        assert!(!synopsis.contains("--vault-addr"), "{name}: {synopsis}");
        names.push(name);
    }
    for name in [
        "vctl.1",
        "vctl-ca-ssh-rotate.1",
        "vctl-whoami.1",
        "vctl-agent.8",
        "vctl-agent-check.8",
    ] {
        assert!(names.iter().any(|known| known == name), "{name}: {names:?}");
    }
}

#[test]
fn a_page_has_the_examples_of_the_help() {
    let vctl = &Programs::find().unwrap().vctl;
    for command in [
        "ssh",
        "sync",
        "exec",
        "ca ssh-rotate",
        "migrate",
        "completions",
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        let help = stdout(&run(vctl, &[&words[..], &["--help"]].concat()));
        let page = stdout(&run(vctl, &[&["help"], &words[..]].concat()));
        let examples = help.lines().skip_while(|line| !line.starts_with("Example"));
        let examples = examples.skip(1).take_while(|line| line.starts_with("  "));
        let mut count = 0;
        for example in examples {
            let line = example.trim().split("  ").next().unwrap();
            assert!(page.contains(line), "{command}: {line}\n{page}");
            count += 1;
        }
        assert!(count > 0, "{command}");
        assert!(
            page.lines()
                .all(|line| line.chars().count() <= 80 || line.starts_with("    vctl")),
            "{page}"
        );
    }
}

#[test]
fn a_slip_is_answered_with_the_command_that_was_meant() {
    let programs = Programs::find().unwrap();
    for (args, suggested) in [
        (&["VERSION"][..], "'version'"),
        (&["Help"], "'help'"),
        (&["statu"], "'status'"),
        (&["inventory"], "'list'"),
        (&["ca", "Install"], "'install'"),
        (&["host", "enrol"], "'enroll'"),
    ] {
        let output = run(&programs.vctl, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let said = stderr(&output);
        assert!(said.contains(suggested), "{args:?}: {said}");
    }
    for (program, name) in [(&programs.vctl, "vctl"), (&programs.agent, "vctl-agent")] {
        let long = stdout(&run(program, &["--version"]));
        assert!(long.starts_with(&format!("{name} ")), "{long}");
        assert_eq!(stdout(&run(program, &["version"])), long);
        assert!(stdout(&run(program, &["help"])).contains("Examples:"));
    }
    let output = run(&programs.vctl, &["help", "ca", "rotate"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("ca ssh-rotate"),
        "{}",
        stderr(&output)
    );
}
