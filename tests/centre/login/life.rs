//! vctl uses a token while it is valid, renews it in time, and replaces it if it can. `logout` revokes the token.

use std::fs::File;
use std::thread;
use std::time::Duration;

use serde_json::json;
use vctl_tests::centre::{Centre, Options, Secret};
use vctl_tests::lab::eventually;

use super::{Workstation, machine, person};

fn log_in(workstation: &Workstation<'_>, name: &str, password: &str) {
    let said = workstation.given(&["login", "--username", name, "--password-stdin"], password);
    assert_eq!(said.code, 0, "{said:?}");
}

fn ids(ids: &[String; 2]) -> [(&'static str, &str); 2] {
    [("VCTL_ROLE_ID", &*ids[0]), ("VCTL_SECRET_ID", &*ids[1])]
}

/// Waits until the server reports only this remaining lifetime of a token.
fn wait_until_left(workstation: &Workstation<'_>, token: &str, seconds: u64) {
    let short = || Ok(workstation.asked_of(token)["ttl"].as_u64().unwrap_or(0) <= seconds);
    assert!(eventually(Duration::from_secs(30), short).unwrap());
}

#[test]
fn a_valid_token_is_used_without_a_request() {
    let Some(centre) = Centre::or_skip(&Options::default()) else {
        return;
    };
    let workstation = Workstation::new(&centre);
    log_in(
        &workstation,
        "life-good",
        &person(&centre, "life-good", 3600, 7200),
    );
    let token = workstation.token();
    centre.bao.stop().unwrap();
    assert_eq!(workstation.token(), token);
    for args in [
        &["token", "-o", "json"][..],
        &["token", "--field", "expires"],
    ] {
        let said = workstation.run(args);
        assert_eq!(said.code, 0);
        assert!(!said.stdout.contains(&token));
    }
    let said = workstation.run(&["exec", "--", "sh", "-c", "echo $VAULT_TOKEN"]);
    assert_eq!((said.code, said.stdout.trim_end()), (0, &*token));
}

#[test]
fn a_token_near_its_end_is_renewed_until_its_maximum() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = Workstation::new(centre);
    // For twelve seconds, vctl only uses the token. In the next six seconds, vctl renews it. After thirty seconds in
    // total, the token expires.
    let password = person(centre, "life-short", 18, 30);
    log_in(&workstation, "life-short", &password);
    let token = workstation.token();
    let first = workstation.known()["expires"].as_str().unwrap().to_owned();
    // The wait goes far into the six seconds, because vctl knows the expiry only from the last answer of Vault.
    wait_until_left(&workstation, &token, 3);
    assert_eq!(workstation.token(), token);
    let second = workstation.known()["expires"].as_str().unwrap().to_owned();
    assert!(second > first, "{first} {second}");

    let over = || Ok(workstation.asked_of(&token).is_null());
    assert!(eventually(Duration::from_mins(1), over).unwrap());
    let said = workstation.run(&["token"]);
    assert_eq!((said.code, &*said.stdout), (77, ""));
    assert!(
        said.stderr.contains("has expired") && said.stderr.contains("vctl login"),
        "{said:?}"
    );
    assert_eq!(workstation.run(&["fleet"]).code, 77);

    // On a terminal, any command asks for a new login and then continues.
    let mut command = workstation.command(&["token"]);
    command.envs([
        ("VCTL_AUTH_METHOD", "userpass"),
        ("VCTL_USERNAME", "life-short"),
    ]);
    let mut terminal = vctl_tests::terminal::Terminal::start(command, 80).unwrap();
    terminal.wait_for("Password of life-short").unwrap();
    terminal.wait_for_silence().unwrap();
    terminal.type_in(&format!("{password}\r")).unwrap();
    assert!(terminal.end().unwrap().success(), "{}", terminal.shown());
    let next = workstation.token();
    assert!(next != token && terminal.shown().contains(&next));
}

#[test]
fn a_machine_replaces_its_token_before_it_ends() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = Workstation::new(centre);
    let machine = machine(centre, "life-machine", 4, 6);
    let token = || {
        let mut command = workstation.command(&["token"]);
        let output = command.envs(ids(&machine)).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    };
    let first = token();
    // The printed token is valid at every moment.
    let replaced = || {
        let token = token();
        assert!(!workstation.asked_of(&token).is_null());
        Ok(token != first)
    };
    assert!(eventually(Duration::from_secs(30), replaced).unwrap());
}

#[test]
fn ten_commands_at_once_log_in_once() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = Workstation::new(centre);
    let machine = machine(centre, "life-at-once", 3600, 7200);
    let start = |_| {
        let mut command = workstation.command(&["token"]);
        let piped = std::process::Stdio::piped;
        command
            .envs(ids(&machine))
            .stdout(piped())
            .stderr(piped())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..10).map(start).collect();
    let mut tokens: Vec<_> = children
        .into_iter()
        .map(|child| child.wait_with_output().unwrap())
        .map(|output| {
            assert!(output.status.success(), "{output:?}");
            output.stdout
        })
        .collect();
    tokens.dedup();
    assert_eq!(tokens.len(), 1);
}

#[test]
fn a_revoked_token_differs_from_a_missing_policy() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = Workstation::new(centre);
    log_in(
        &workstation,
        "life-revoked",
        &person(centre, "life-revoked", 3600, 7200),
    );
    let said = workstation.run(&["audit"]);
    assert_eq!(said.code, 77);
    assert!(said.stderr.contains("vctl-auditor"), "{said:?}");
    let accessor = workstation.known()["accessor"].as_str().unwrap().to_owned();
    let admin = centre.bao.admin().unwrap();
    admin
        .post("auth/token/revoke-accessor", &json!({"accessor": accessor}))
        .unwrap();
    for (args, why) in [(&["fleet"], "was revoked"), (&["token"], "not logged in")] {
        let said = workstation.run(args);
        assert_eq!(said.code, 77, "{said:?}");
        assert!(
            said.stderr.contains(why) && said.stderr.contains("vctl login"),
            "{said:?}"
        );
    }
}

#[test]
fn a_token_that_cannot_be_read_is_not_reported_as_revoked() {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = Workstation::new(centre);
    let password = person(centre, "life-unread", 3600, 7200);
    let file = workstation.home(".vctl/token");
    for (damage, why) in [
        (None, "other users can write the file"),
        (Some("junk"), "does not contain a token"),
        (Some(""), "does not contain a token"),
    ] {
        log_in(&workstation, "life-unread", &password);
        match damage {
            Some(text) => fs::write(&file, text).unwrap(),
            None => fs::set_permissions(&file, Permissions::from_mode(0o660)).unwrap(),
        }
        let said = workstation.run(&["logout"]);
        assert_eq!(said.code, 1, "{why}: {said:?}");
        assert!(said.stderr.contains("was not revoked"), "{why}: {said:?}");
        assert!(said.stderr.contains(why), "{why}: {said:?}");
        assert!(!file.exists(), "{why}");
        assert_eq!(workstation.run(&["logout"]).code, 0, "{why}");
    }
}

#[test]
fn logging_out_ends_the_token_at_the_server_and_here() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = Workstation::new(centre);
    log_in(
        &workstation,
        "life-out",
        &person(centre, "life-out", 3600, 7200),
    );
    let token = workstation.token();
    let said = workstation.run(&["logout"]);
    assert_eq!((said.code, &*said.stdout), (0, ""), "{said:?}");
    assert!(workstation.asked_of(&token).is_null());
    assert!(!workstation.home(".vctl/token").exists());
    assert_eq!(workstation.run(&["logout"]).code, 0);
    assert_eq!(workstation.run(&["token"]).code, 77);
}

#[test]
fn logout_waits_for_a_renewal_that_may_write_the_token() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = Workstation::new(centre);
    let password = person(centre, "life-race", 3600, 7200);
    log_in(&workstation, "life-race", &password);
    let renewal = File::open(workstation.home(".vctl/token.lock")).unwrap();
    renewal.lock().unwrap();
    let mut logout = workstation.command(&["logout"]).spawn().unwrap();
    thread::sleep(Duration::from_secs(1));
    assert!(workstation.home(".vctl/token").exists());
    assert!(logout.try_wait().unwrap().is_none());
    renewal.unlock().unwrap();
    assert!(logout.wait().unwrap().success());
    assert!(!workstation.home(".vctl/token").exists());
}

#[test]
fn a_token_in_the_environment_wins_with_a_note() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = Workstation::new(centre);
    let password = person(centre, "life-env", 3600, 7200);
    let other = centre.person("life-env-other", &["vctl-user"]).unwrap();
    let with = |args: &[&str], token: &Secret| {
        let mut command = workstation.command(args);
        command.env("VAULT_TOKEN", token.expose()).output().unwrap()
    };
    log_in(&workstation, "life-env", &password);
    let output = with(&["token"], other.token());
    assert_eq!(
        String::from_utf8(output.stdout).unwrap().trim_end(),
        other.token().expose()
    );
    assert_ne!(workstation.token(), other.token().expose());
}
