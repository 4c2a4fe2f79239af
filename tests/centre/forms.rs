//! Every command that reads has every form of output, and each is what a program can rely on.

use std::io::Read as _;
use std::process::Stdio;

use serde_json::Value;

use crate::inventory::Inventory;
use crate::programs::vctl;

/// What reads, and what a document calls the things that it lists.
const READING: &[(&[&str], Option<&str>)] = &[
    (&["list"], Some("hosts")),
    (&["fleet"], Some("hosts")),
    (&["retention"], Some("kept")),
    (&["audit"], Some("accesses")),
    (&["audit", "--unasked"], Some("sessions")),
    (&["session", "--list"], Some("sessions")),
    (&["cache", "status"], Some("caches")),
    // One thing, and not a list of them.
    (&["status"], None),
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
fn what_is_read_can_be_had_in_every_form() {
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
        // For people, too, and nothing is cut where no terminal is.
        let wide = shown("wide");
        assert!(!wide.contains('\u{2026}'), "{command:?}: {wide}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let Some(inventory) = inventory("forms_pipe") else {
        return;
    };
    // More than a pipe holds.
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
