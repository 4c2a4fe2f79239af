//! Every reading command has every output format, and programs can rely on each format.

use std::io::Read as _;
use std::process::Stdio;

use serde_json::Value;

use crate::fixture::programs::vctl;
use crate::inventory::Inventory;

/// The reading commands, and the name of the list in their JSON documents.
const READING: &[(&[&str], Option<&str>)] = &[
    (&["list"], Some("hosts")),
    (&["fleet"], Some("hosts")),
    (&["retention"], Some("kept")),
    (&["audit"], Some("accesses")),
    (&["audit", "--without-access"], Some("sessions")),
    (&["session", "--list"], Some("sessions")),
    (&["cache", "status"], Some("caches")),
    // This command shows one object, not a list.
    (&["status"], None),
    (&["whoami"], None),
];

fn inventory(database: &'static str) -> Option<Inventory> {
    let inventory = Inventory::new(database, &["vctl-user", "vctl-auditor"])?;
    inventory.sql(
        "insert into vctl.servers (hostname, ip) \
         select 'a-host-with-a-rather-long-name-that-no-narrow-column-fits-' || n, '192.0.2.1' \
         from generate_series(1, 3) n",
    );
    Some(inventory)
}

#[test]
fn every_reading_command_prints_every_format() {
    let Some(inventory) = inventory("forms") else {
        return;
    };
    for (command, name) in READING {
        let shown = |form: &str| inventory.shows(&[command, &["-o", form][..]].concat());
        let document: Value = serde_json::from_str(&shown("json")).unwrap();
        assert_eq!(document["version"], 1, "{command:?}");
        let lines: Vec<Value> = shown("jsonl")
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let count = match name {
            Some(name) => document[name].as_array().unwrap().len(),
            None => 1,
        };
        assert_eq!(lines.len(), count, "{command:?}");
        assert!(shown("yaml").starts_with("\"version\": 1\n"), "{command:?}");
        let csv = shown("csv");
        assert_eq!(csv.matches("\r\n").count(), count + 1, "{command:?}: {csv}");
        assert_eq!(shown("name").lines().count(), count, "{command:?}");
        // The format for people also shows all text if the output is not a terminal.
        let wide = shown("wide");
        assert!(!wide.contains('\u{2026}'), "{command:?}: {wide}");
    }
}

#[test]
fn every_command_with_a_form_takes_the_same_words() {
    let programs = vctl_tests::lab::Programs::find().unwrap();
    let help = |program: &std::path::Path, words: &[&str]| {
        let mut command = std::process::Command::new(program);
        let output = command
            .args(words)
            .env("HOME", "/nonexistent")
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let documents = ["doctor", "login", "token", "config", "migrate"];
    let records = [
        "list",
        "fleet",
        "retention",
        "audit",
        "session",
        "status",
        "whoami",
        "cache status",
        "ca ssh-print",
    ];
    for command in documents.iter().chain(&records) {
        let words: Vec<&str> = command.split(' ').collect();
        let (_, text) = help(&programs.vctl, &[&words[..], &["-h"]].concat());
        assert!(text.contains("-o, --output <FORMAT>"), "{command}: {text}");
        let (code, said) = help(&programs.vctl, &[&words[..], &["-o", "xml"]].concat());
        assert_eq!(code, Some(2), "{command}: {said}");
        let all = "[possible values: table, wide, json, jsonl, yaml";
        assert!(said.contains(all), "{command}: {said}");
        assert_eq!(
            said.contains("csv, name"),
            records.contains(command),
            "{command}: {said}"
        );
    }
    let (code, said) = help(&programs.agent, &["check", "-o", "yaml"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("[possible values: table, json, jsonl, csv, name]"),
        "{said}"
    );
    assert!(
        help(&programs.agent, &["check", "-h"])
            .1
            .contains("-o, --output <FORMAT>")
    );
    assert_eq!(
        help(&programs.vctl, &["config", "-o", "text"]),
        help(&programs.vctl, &["config"])
    );
    assert!(
        help(&programs.vctl, &["config", "-o", "yaml"])
            .1
            .starts_with('"')
    );
}

#[test]
fn an_unsupported_format_is_refused_with_the_supported_ones() {
    let spool = tempfile::tempdir().unwrap();
    let local = [
        "session",
        "--local",
        "--spool",
        spool.path().to_str().unwrap(),
    ];
    for (args, why) in [
        (
            &["7341", "--tree", "-o", "json"][..],
            "`--tree` cannot be printed as `json`",
        ),
        (
            &["7341", "-o", "csv"],
            "a timeline cannot be printed as `csv`",
        ),
        (
            &["--grep", "x", "-o", "name"],
            "matches of `--grep` cannot be printed as `name`",
        ),
        (
            &["--follow", "-o", "yaml"],
            "`--follow` cannot be printed as `yaml`",
        ),
    ] {
        let mut command =
            std::process::Command::new(vctl_tests::lab::Programs::find().unwrap().vctl);
        let output = command.args(local).args(args).output().unwrap();
        let said = crate::fixture::programs::stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(why), "{args:?}: {said}");
        assert!(said.contains("use `table`, `wide`"), "{args:?}: {said}");
    }
}

#[test]
fn a_reader_that_closes_its_pipe_is_not_a_failure() {
    let Some(inventory) = inventory("forms_pipe") else {
        return;
    };
    // The output is larger than a pipe.
    inventory.sql(
        "insert into vctl.servers (hostname, ip) select 'many-' || n, '192.0.2.1' \
         from generate_series(1, 2000) n",
    );
    let Inventory {
        centre,
        person,
        database,
    } = &inventory;
    for command in ["list", "fleet"] {
        for form in ["table", "json", "jsonl", "yaml", "csv", "name"] {
            let mut child = vctl(centre, person, database, &[command, "-o", form])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut first = [0];
            child.stdout.take().unwrap().read_exact(&mut first).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{command} {form}: {output:?}");
            assert!(output.stderr.is_empty(), "{command} {form}: {output:?}");
        }
    }
}
