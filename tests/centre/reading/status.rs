//! `vctl status`: the overview before work, on a terminal and in a script.

use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use vctl_tests::centre::{Centre, Client};

use crate::fixture::programs::{on_a_terminal, stderr, stdout, vctl};

const DB: &str = "status";

fn status(centre: &Centre, client: &Client, home: &TempDir, args: &[&str]) -> Command {
    let mut command = vctl(centre, client, DB, &[&["status"], args].concat());
    command.env("HOME", home.path()).current_dir(home.path());
    command
}

fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    for (index, part) in text.split("\u{1b}[").enumerate() {
        let part = if index == 0 {
            part
        } else {
            part.split_once('m').unwrap().1
        };
        plain.push_str(part);
    }
    plain
}

#[test]
fn hosts_and_agents_are_counted_by_their_rows() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    centre.create_database_with_schema(DB).unwrap();
    let sql = |sql: &str| centre.postgres.psql(DB, sql).unwrap();
    for name in ["a", "b", "silent", "never", "retired"] {
        sql(&format!(
            "insert into vctl.servers (hostname, ip) values ('{name}', '10.0.0.1')"
        ));
    }
    sql("update vctl.servers set state = 'retired' where hostname = 'retired'");
    sql(
        "insert into vctl.server_status (hostname, agent_version, reported_at) values
         ('a', '0.1.0', now()), ('b', '0.1.0', now() - interval '9 minutes'),
         ('silent', '0.1.0', now() - interval '11 minutes')",
    );
    let person = centre.person("stats", &["vctl-user"]).unwrap();
    let home = TempDir::new().unwrap();
    let run = |args: &[&str]| status(centre, &person, &home, args).output().unwrap();

    let output = run(&[]);
    let page = stdout(&output);
    assert!(output.status.success(), "{page}{}", stderr(&output));
    let line = |subject: &str| page.lines().find(|line| line.starts_with(subject)).unwrap();
    assert!(line("Vault").contains("unsealed"), "{page}");
    assert!(
        line("Identity").contains("stats, by `VAULT_TOKEN`"),
        "{page}"
    );
    assert!(line("Token").contains(" left"), "{page}");
    assert!(line("SSH CA").contains("SHA256:"), "{page}");
    assert!(
        line("Inventory").contains("4 hosts, in `status` at 127.0.0.1:"),
        "{page}"
    );
    assert!(
        line("Agents").contains("2 reporting, 1 silent, 1 without one"),
        "{page}"
    );
    assert!(!page.contains('\u{1b}'), "{page}");

    let json: Value = serde_json::from_str(&stdout(&run(&["-o", "json"]))).unwrap();
    let counts =
        ["hosts", "agents_reporting", "agents_silent", "agents_none"].map(|key| json[key].as_u64());
    assert_eq!(counts, [4, 2, 1, 1].map(Some), "{json}");
    assert_eq!(
        (&json["well"], &json["machine"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(json["problems"][0]["subject"], "Agents");

    let check = run(&["--check"]);
    assert!(check.status.success());
    assert_eq!(
        (stdout(&check), stderr(&check)),
        (String::new(), String::new())
    );
}

#[test]
fn status_without_a_login_does_not_ask() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let person = centre.person("gone", &["vctl-user"]).unwrap();
    person.post("auth/token/revoke-self", &json!({})).unwrap();
    let home = TempDir::new().unwrap();
    for (token, said) in [(person.token().expose(), "revoked"), ("", "not logged in")] {
        let run = |args: &[&str]| {
            let mut command = status(centre, &person, &home, args);
            command.env("VAULT_TOKEN", token).output().unwrap()
        };
        let output = run(&[]);
        let page = stdout(&output);
        assert_eq!(output.status.code(), Some(77), "{page}");
        assert!(
            page.contains(said) && page.contains("run `vctl login`"),
            "{page}"
        );
        // The page leaves out all parts that need a token.
        assert!(
            page.starts_with("Vault") && !page.contains("Inventory"),
            "{page}"
        );
        let check = run(&["--check"]);
        assert_eq!(
            (check.status.code(), stdout(&check)),
            (Some(77), String::new())
        );
        assert_eq!(stderr(&check).lines().count(), 1, "{}", stderr(&check));
        let json: Value = serde_json::from_str(&stdout(&run(&["-o", "json"]))).unwrap();
        assert_eq!(json["well"], false);
        assert_eq!(json["problems"][0]["exit_code"], 77);
    }
}

#[test]
fn a_page_fits_terminals_of_80_and_of_40_columns() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let person = centre.person("narrow", &["vctl-user"]).unwrap();
    let home = TempDir::new().unwrap();
    for columns in [80, 40] {
        for args in [&["status"][..], &["doctor"]] {
            let mut command = vctl(centre, &person, "vctl", args);
            command.env("HOME", home.path()).current_dir(home.path());
            let (page, _) = on_a_terminal(command, columns);
            assert!(page.contains("\u{1b}["), "no colours on a terminal: {page}");
            let page = without_colours(&page);
            for line in page.lines() {
                let width = line.chars().count();
                // vctl never cuts a single word, because a user may have to copy it.
                let word = line.split_whitespace().map(str::len).max().unwrap_or(0);
                let fits = width <= usize::from(columns) || word + 11 >= usize::from(columns);
                assert!(fits, "{width} columns, not {columns}: {line}");
            }
        }
    }
}
