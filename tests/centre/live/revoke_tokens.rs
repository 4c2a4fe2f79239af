//! `vctl revoke` finds the tokens of a user among all tokens of Vault, and its record outlives a wait for Vault.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use serde_json::json;
use vctl_tests::centre::{Centre, Client, FarServers, Secret};
use vctl_tests::lab::{PATIENCE, eventually};
use vctl_tests::terminal::Terminal;

use super::{said, vctl_command, words};
use crate::fixture::open_transaction::OpenTransaction;
use crate::ssh::shared;

#[test]
fn found_tokens_are_revoked_without_a_second_list() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let admin = centre.bao.admin().unwrap();
    let policy = "sys/policies/acl/revoke-once";
    let stock = admin.get("sys/policies/acl/vctl-revoke").unwrap();
    let stock = stock["data"]["policy"].as_str().unwrap();
    admin.post(policy, &json!({"policy": stock})).unwrap();
    let victim = centre.person("listed", &["vctl-user"]).unwrap();
    let token = victim.get("auth/token/lookup-self").unwrap();
    let accessor = json!({"accessor": token["data"]["accessor"]});
    let responder = centre.person("once", &["revoke-once"]).unwrap();
    let command = vctl_command(centre, &responder, &["revoke", "listed"]);
    let mut terminal = Terminal::start(command, 200).unwrap();
    terminal.wait_for("[y/N]").unwrap();
    // From now on Vault refuses the list of accessors.
    let denied = format!("{stock}\npath \"auth/token/accessors\" {{ capabilities = [\"deny\"] }}");
    admin.post(policy, &json!({"policy": denied})).unwrap();
    terminal.type_in("y\n").unwrap();
    let ended = terminal.end().unwrap();
    let shown = terminal.shown();
    assert_eq!(ended.code(), Some(1), "{shown}");
    let problem = "tokens of new logins: ";
    assert!(words(&shown).contains(problem), "{shown}");
    let looked_up = admin.post("auth/token/lookup-accessor", &accessor);
    assert!(looked_up.is_err(), "the token is left: {shown}");
}

#[test]
fn a_revocation_ends_no_token_that_begins_beside_it() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let admin = centre.bao.admin().unwrap();
    centre.person("beside", &["vctl-user"]).unwrap();
    let responder = centre.person("besider", &["vctl-revoke"]).unwrap();
    let is_over = AtomicBool::new(false);
    let begin_tokens = || {
        let request = json!({"policies": ["default"], "ttl": "1m"});
        let mut begun = 0;
        while !is_over.load(Ordering::Relaxed) {
            let made = admin.post("auth/token/create", &request).unwrap();
            let token = Secret::new(made["auth"]["client_token"].as_str().unwrap());
            let user = admin.with_token(token);
            user.get("auth/token/lookup-self").unwrap();
            user.post("auth/token/revoke-self", &json!({})).unwrap();
            begun += 1;
        }
        begun
    };
    let plan = ["revoke", "beside", "--dry-run"];
    let revoke = || -> Vec<_> {
        let runs = (0..5).map(|_| vctl_command(centre, &responder, &plan).output());
        runs.collect()
    };
    let begun: u32 = std::thread::scope(|scope| {
        let users: Vec<_> = (0..4).map(|_| scope.spawn(begin_tokens)).collect();
        let revoking: Vec<_> = (0..6).map(|_| scope.spawn(revoke)).collect();
        let plans: Vec<_> = revoking.into_iter().map(ScopedJoinHandle::join).collect();
        is_over.store(true, Ordering::Relaxed);
        for output in plans.into_iter().flat_map(Result::unwrap) {
            let output = output.unwrap();
            assert!(output.status.success(), "{}", said(&output));
        }
        users.into_iter().map(|user| user.join().unwrap()).sum()
    });
    assert!(begun > 100, "{begun}");
}

#[test]
fn a_token_that_has_ended_and_is_listed_is_no_part_left() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let admin = centre.bao.admin().unwrap();
    list_an_ended_token(&admin);
    let policy = "sys/policies/acl/revoke-seeing";
    let stock = admin.get("sys/policies/acl/vctl-revoke").unwrap();
    let stock = stock["data"]["policy"].as_str().unwrap();
    admin.post(policy, &json!({"policy": stock})).unwrap();
    centre.person("former", &["vctl-user"]).unwrap();
    let responder = centre.person("seeing", &["revoke-seeing"]).unwrap();
    let revoke = || vctl_command(centre, &responder, &["revoke", "former", "--yes"]).output();
    let output = revoke().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));

    // Without the right, Vault refuses each token in the same way.
    let path = "path \"auth/token/lookup-accessor\" { capabilities = [\"deny\"] }";
    let denied = json!({"policy": format!("{stock}\n{path}")});
    admin.post(policy, &denied).unwrap();
    let output = revoke().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let unread = "tokens could not be looked up, although Vault lists them: Vault denies";
    assert!(said(&output).contains(unread), "{}", said(&output));
}

/// Removes a token from the storage of Vault and leaves its accessor, which Vault then lists for ever.
fn list_an_ended_token(admin: &Client) {
    let body = json!({"policies": ["default"], "ttl": "10m"});
    let made = admin.post("auth/token/create", &body).unwrap();
    let accessor = made["auth"]["accessor"].as_str().unwrap();
    let directory = "sys/raw/sys/token/id";
    let stored = admin.call("LIST", directory, None).unwrap();
    let keys: Vec<String> = serde_json::from_value(stored.body["data"]["keys"].clone()).unwrap();
    let paths = keys.iter().map(|key| format!("{directory}/{key}"));
    let mut of_accessor = paths.filter(|path| {
        let entry = admin.call("GET", path, None).unwrap();
        entry.body.to_string().contains(accessor)
    });
    let token = of_accessor.next().unwrap();
    admin.call("DELETE", &token, None).unwrap();
    let looked_up = json!({"accessor": accessor});
    let reply = admin.call("POST", "auth/token/lookup-accessor", Some(&looked_up));
    assert_eq!(reply.unwrap().status, 403);
}

/// A connection that is unused for some seconds is closed with its login, and only the login that began a record can add
/// the outcome.
#[test]
fn a_slow_vault_splits_no_record_of_a_revocation() {
    let Some(centre) = shared() else { return };
    let servers = FarServers::start(centre, Duration::ZERO).unwrap();
    centre.person("slowly", &["vctl-user"]).unwrap();
    let responder = centre.person("slow-revoker", &["vctl-revoke"]).unwrap();
    let held = OpenTransaction::begin(centre, "lock table vctl.revocation in exclusive mode");
    let mut command = vctl_command(centre, &responder, &["revoke", "slowly", "--yes"]);
    command.envs(servers.environment());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let begins = "select count(*) from pg_stat_activity \
                  where usename like '%/userpass-slow-revoker~%' and wait_event_type = 'Lock'";
    let begins = eventually(PATIENCE, || Ok(centre.ask(begins)? == "1"));
    assert!(begins.unwrap(), "the record does not begin");
    // Longer than a connection stays open unused.
    servers.vault.stall(Duration::from_secs(16));
    held.commit();
    let output = child.wait_with_output().unwrap();
    let rows =
        "select count(*), count(outcome) from vctl.revocation where 'userpass-slowly' = any(names)";
    assert_eq!(centre.ask(rows).unwrap(), "1|1", "{}", said(&output));
}
