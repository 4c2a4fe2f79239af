//! The attacker writes text that vctl shows to another user, and wants it to control the terminal.

use std::fs;
use std::process::Command;

use serde_json::json;
use vctl_tests::centre::{Centre, DATABASE, Secret};

use super::desk::{Desk, FakeVault, Said};

/// Clears the screen, reverses the text direction, sets a colour with a C1 control, and starts a line of its own.
const HOSTILE: &str = "a\u{1b}[2J\u{202e}\u{9b}31m\u{2066}\r\nFORGED: b";

/// Accepts a login under a hostile name, and refuses every other request with a hostile text.
fn vault(request: &str) -> (u16, String) {
    let granted = json!({
        "client_token": "hvs.given", "accessor": HOSTILE, "policies": ["default"],
        "token_policies": ["default"], "lease_duration": 3600, "renewable": false,
        "metadata": null, "entity_id": "", "token_type": "service", "orphan": true,
    });
    let person = json!({
        "display_name": HOSTILE, "policies": ["default"], "ttl": 3600, "creation_ttl": 3600,
        "accessor": HOSTILE, "renewable": false, "meta": null, "path": "", "id": "", "num_uses": 0,
        "orphan": true, "entity_id": "", "type": "service",
    });
    match request {
        "GET /v1/auth/token/lookup-self" => (200, json!({ "data": person }).to_string()),
        path if path.contains("/auth/userpass/login/ann") => {
            (200, json!({ "auth": granted }).to_string())
        }
        "GET /v1/ssh/public_key" => (
            200,
            format!(
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ {HOSTILE}"
            ),
        ),
        _ => (400, json!({ "errors": [HOSTILE] }).to_string()),
    }
}

/// The output contains the escaped text, so vctl did not just drop it.
const ESCAPED: &str = r"\x1b[2J";

#[test]
fn an_answer_of_vault_is_escaped_by_every_command() {
    let fake = FakeVault::start(vault);
    let desk = Desk::new(&format!("vault_addr: {}\n", fake.addr));
    let login = ["login", "--username", "ann", "--password-stdin"];
    let said = desk.given(&login, "secret\n");
    said.assert_harmless("login");
    assert_eq!(said.code, 0, "{}", said.stderr);
    for args in [
        &["token", "-o", "json"][..],
        &["token", "--field", "accessor"],
        &["fleet"],
        &["fleet", "-o", "json"],
        &["list"],
        &["audit"],
        &["session", "7"],
        &["migrate", "--status"],
        &["ssh", "web-1"],
        &["exec", "--env", "A=secret/a#b", "--", "true"],
        &["host", "enroll", "web-1"],
        &["ca", "ssh-print"],
        &["ca", "ssh-print", "-o", "json"],
        &["trust-ca", "--script"],
        &["trust-ca", "--cloud-init"],
        &["doctor"],
        &["doctor", "-o", "json"],
        &["status"],
        &["status", "-o", "json"],
        // Neighbour: lines of the log.
        &["-vv", "fleet"],
    ] {
        let said = desk.run(args);
        said.assert_harmless(&args.join(" "));
    }
    let said = desk.given(&["login", "--username", "bob", "--password-stdin"], "x\n");
    said.assert_harmless("a refused login");
    assert!(said.stderr.contains(ESCAPED), "{}", said.stderr);
    let said = desk.run(&["logout"]);
    said.assert_harmless("logout");
    assert!(said.stderr.contains(ESCAPED), "{}", said.stderr);
}

/// Neighbour: words of the command line and names of directories, which scripts take from other sources.
#[test]
fn words_and_paths_are_escaped() {
    let desk = Desk::new("");
    // A line end in a word comes from the caller, because vctl prints the command line unchanged.
    let word = HOSTILE.replace('\n', "");
    for args in [
        &[&*word][..],
        &["session", "--since", &word],
        &["fleet", "-o", &word],
        &["ssh", "--no-such", &word],
        &["trust-ca", "--prune", &word, "--script"],
        &["config", "--vault-addr", &word],
        &["config", "trust", &word],
        &["sync", "--config", &word],
    ] {
        let said = desk.run(args);
        assert_ne!(said.code, 0, "{args:?}");
        said.assert_harmless(&format!("{args:?}"));
    }
    let there = desk.path(&format!("work/{word}"));
    fs::create_dir_all(there.join(".vctl")).unwrap();
    fs::write(there.join(".vctl/config.yaml"), "db_name: theirs\n").unwrap();
    for args in [
        &["fleet"][..],
        &["config"],
        &["config", "trust"],
        &["config", "trust", "--yes"],
        &["config", "trust", "--list"],
        &["config", "untrust"],
    ] {
        let output = desk.command(args).current_dir(&there).output().unwrap();
        Said::from(output).assert_harmless(&format!("{args:?}"));
    }
    // The file may set any value, and the user reads the values before trusting the file.
    let value = r#""a\e[2J\u202e\x9b31m\r\nFORGED: b""#;
    for key in [
        "vault_addr",
        "db_name",
        "sink_path",
        "dc_rules",
        "no_such_key",
    ] {
        desk.directory_says(&format!("{key}: {value}\n"));
        for args in [&["config"][..], &["config", "trust"], &["fleet"]] {
            desk.run(args).assert_harmless(&format!("{key}, {args:?}"));
        }
    }
}

#[test]
fn text_of_hosts_and_inventory_is_escaped() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let desk = Desk::new("");
    let name = "attack-text";
    let password = person(centre, name);
    let run = |args: &[&str]| -> Said {
        let mut command = desk.command(args);
        with(&mut command, centre).output().unwrap().into()
    };
    fs::write(desk.path("password"), password).unwrap();
    let mut command = desk.command(&["login", "--username", name, "--password-stdin"]);
    command.stdin(fs::File::open(desk.path("password")).unwrap());
    let said: Said = with(&mut command, centre).output().unwrap().into();
    assert_eq!(said.code, 0, "{}", said.stderr);

    let machine = centre.machine(name).unwrap();
    // Neighbour: a banner before the login.
    fs::write(machine.etc_ssh("banner"), HOSTILE).unwrap();
    let drop_in = machine.etc_ssh("sshd_config.d/20-banner.conf");
    fs::write(drop_in, "Banner /etc/ssh/banner\n").unwrap();
    machine.reload().unwrap();
    let sql = format!(
        "insert into vctl.servers (hostname, ip, ssh_port, ssh_user) values \
         ('{name}', '127.0.0.1', {port}, 'root'), \
         ('{name}-user', '127.0.0.1', {port}, U&'a\\001b[2J\\202e\\009b31m\\000d\\000aFORGED: b')",
        port = machine.port()
    );
    centre.postgres.psql(DATABASE, &sql).unwrap();
    fs::create_dir_all(desk.path(".ssh")).unwrap();
    let key = machine.public_key();
    let known = format!("{name} {key}\n{name}-user {key}\n");
    fs::write(desk.path(".ssh/known_hosts"), known).unwrap();

    let said = run(&["ssh", name, "--", "true"]);
    said.assert_harmless("a banner");
    assert!(said.stderr.contains(ESCAPED), "{}", said.stderr);
    let user = format!("{name}-user");
    let said = run(&["ssh", &user, "--", "true"]);
    said.assert_harmless("connecting to");
    assert!(
        said.stderr.contains("connecting to") && said.stderr.contains(ESCAPED),
        "{}",
        said.stderr
    );
    for args in [
        &["list"][..],
        &["list", "-o", "jsonl"],
        &["ssh-config"],
        &["list", "-o", "wide"],
        &["ssh", "attack-te", "--", "true"],
        &["audit"],
    ] {
        run(args).assert_harmless(&args.join(" "));
    }
}

/// Creates a user with the right to log in to hosts, and returns the password.
fn person(centre: &Centre, name: &str) -> String {
    let password = Secret::random().unwrap().expose().to_owned();
    let user = json!({ "password": password, "policies": ["vctl-user", "vctl-ssh"] });
    let admin = centre.bao.admin().unwrap();
    admin
        .post(&format!("auth/userpass/users/{name}"), &user)
        .unwrap();
    password
}

fn with<'a>(command: &'a mut Command, centre: &Centre) -> &'a mut Command {
    command.envs(centre.environment())
}
