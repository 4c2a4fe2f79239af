//! Errors about settings name the mistake and the place of the setting.

use std::fs;
use std::net::TcpListener;

use vctl_tests::centre::Centre;
use vctl_tests::terminal::Terminal;

use crate::fixture::programs::{stderr, vctl};
use crate::inventory::Inventory;
use crate::login::Workstation;

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn a_wrong_setting_is_named_by_its_place() {
    let Some(inventory) = Inventory::new("placing", &["vctl-user", "vctl-ssh"]) else {
        return;
    };
    // This server accepts connections and never answers. Meanwhile, vctl asks for a certificate.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = format!("root@{}", silent.local_addr().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    fs::write(&file, "# one\ndb_role_ro: gone\n").unwrap();
    let file = file.to_str().unwrap();
    let in_file = format!("`db_role_ro` in {file}:2");
    let root = inventory.centre.bao.root_token().expose();
    for (args, environment, code, said) in [
        (
            vec!["list"],
            vec![("VCTL_DB_NAME", "nodb")],
            78,
            vec!["no database `nodb`", "check `VCTL_DB_NAME`"],
        ),
        (
            vec!["--db-name", "nodb", "list"],
            vec![],
            78,
            vec!["no database `nodb`", "check `--db-name`"],
        ),
        (
            vec!["fleet"],
            vec![("VCTL_DB_ROLE_RO", "gone"), ("VAULT_TOKEN", root)],
            78,
            vec![
                "no role `gone` at `database/`",
                "`VCTL_DB_ROLE_RO`",
                "(not set; the default is `database`)",
            ],
        ),
        (
            vec!["list"],
            vec![("VCTL_CONFIG", file)],
            77,
            vec!["`gone`", &in_file, "`vctl-user`"],
        ),
        (
            vec!["list"],
            vec![("VCTL_DATABASE_MOUNT", "moved")],
            77,
            vec!["check `VCTL_DATABASE_MOUNT`"],
        ),
        (
            vec!["list"],
            vec![("VCTL_DB_PORT", "1")],
            69,
            vec!["`VCTL_DB_PORT`"],
        ),
        (
            vec!["list"],
            vec![("VCTL_DB_SERVERNAME", "x.example")],
            69,
            vec!["`VCTL_DB_SERVERNAME`"],
        ),
        (
            vec![
                "login",
                "--method",
                "userpass",
                "--username",
                "x",
                "--password-stdin",
            ],
            vec![("VCTL_USERPASS_MOUNT", "moved")],
            78,
            vec!["`VCTL_USERPASS_MOUNT`"],
        ),
        (
            vec!["ssh", &there, "true"],
            vec![("VCTL_CA_ROLE", "gone")],
            78,
            vec!["no role `gone` at `ssh/`", "check `VCTL_CA_ROLE`"],
        ),
        (
            vec!["ssh", &there, "true"],
            vec![("VCTL_CA_ROLE", "gone"), ("VAULT_TOKEN", root)],
            78,
            vec!["no role `gone` at `ssh/`", "check `VCTL_CA_ROLE`"],
        ),
    ] {
        let mut command = vctl(
            inventory.centre,
            &inventory.person,
            inventory.database,
            &args,
        );
        let stdin = directory.path().join("password");
        fs::write(&stdin, "password\n").unwrap();
        command.env("HOME", directory.path());
        command.envs(environment.iter().copied());
        if args[0] == "--db-name" {
            command.env_remove("VCTL_DB_NAME");
        }
        let output = command
            .stdin(fs::File::open(&stdin).unwrap())
            .output()
            .unwrap();
        let complaint = stderr(&output);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{args:?} {environment:?}: {complaint}"
        );
        for said in said {
            assert!(complaint.contains(said), "{args:?} {said}: {complaint}");
        }
        assert!(!complaint.contains("deploy/"), "{complaint}");
    }
}

#[test]
fn a_name_that_does_not_resolve_has_one_cause() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = Workstation::new(centre);
    for (variable, value) in [
        ("VCTL_VAULT_ADDR", "https://no-such-host.invalid:8200"),
        ("VCTL_DB_HOST", "no-such-host.invalid"),
        ("VCTL_VAULT_ADDR", "https://localhost:1"),
    ] {
        let mut command = workstation.command(&["list"]);
        command.env("VAULT_TOKEN", centre.bao.root_token().expose());
        let output = command.env(variable, value).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(69), "{said}");
        assert!(said.matches("caused by: ").count() <= 2, "{said}");
        assert!(!said.contains("error sending request"), "{said}");
    }
}

#[test]
fn the_awaited_server_is_named() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    // This server accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let vault = format!("https://127.0.0.1:{port}");
    for (args, variable, value, said) in [
        (
            vec!["list"],
            "VCTL_DB_PORT",
            &port,
            "waiting for Postgres at",
        ),
        (
            vec!["audit"],
            "VCTL_VAULT_ADDR",
            &vault,
            "waiting for Vault at",
        ),
        (
            vec!["ca", "ssh-print"],
            "VCTL_VAULT_ADDR",
            &vault,
            "waiting for Vault at",
        ),
        (
            vec!["status"],
            "VCTL_VAULT_ADDR",
            &vault,
            "waiting for Vault at",
        ),
    ] {
        let workstation = Workstation::new(centre);
        let mut command = workstation.command(&args);
        command.env("VAULT_TOKEN", centre.bao.root_token().expose());
        // vctl waits for the answer of Postgres after it knows the address.
        command
            .env(variable, value)
            .env("VCTL_DB_HOST", "127.0.0.1");
        let mut terminal = Terminal::start(command, 120).unwrap();
        terminal.wait_for(said).unwrap();
        let other = if said.contains("Vault") {
            "for Postgres"
        } else {
            "for Vault"
        };
        assert!(
            !terminal.shown().contains(other),
            "{args:?}: {}",
            terminal.shown()
        );
        terminal.type_in("\u{3}").unwrap();
        terminal.end().unwrap();
    }
}

#[test]
fn messages_break_between_words() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = Workstation::new(centre);
    for args in [
        vec!["--vault-addr", "https://127.0.0.1:1", "list"],
        vec!["delete", "no-such-host"],
        vec!["prune"],
        vec!["ssh", "root@127.0.0.1:1"],
    ] {
        for columns in [40, 80] {
            let mut command = workstation.command(&args);
            command.env("VAULT_TOKEN", "hvs.nobody");
            let mut terminal = Terminal::start(command, columns).unwrap();
            terminal.end().unwrap();
            let shown = terminal.shown();
            assert!(shown.contains("error:"), "{shown}");
            for line in plain(&shown).lines() {
                let is_one_word = !line.trim().contains(' ');
                let fits = line.trim_end().chars().count() <= usize::from(columns);
                assert!(is_one_word || fits, "{columns}: {line}");
            }
        }
    }
}

/// Removes colours.
fn plain(shown: &str) -> String {
    let mut pieces = shown.split("\u{1b}[");
    let mut text = pieces.next().unwrap().to_owned();
    for piece in pieces {
        text.push_str(piece.split_once('m').map_or(piece, |(_, rest)| rest));
    }
    text
}
