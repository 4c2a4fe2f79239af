//! `vctl revoke` ends the access of a user in Vault, in Postgres, on the host, and for sshd.

use std::fs;

use serde_json::json;
use vctl_tests::centre::{Centre, Client, Secret};
use vctl_tests::lab::{Certificate, Options, PATIENCE, eventually};
use vctl_tests::terminal::Terminal;

use super::sshd_list::{Unanswered, listed};
use super::{LiveHost, is_running, said, vctl_command, words};

/// Creates a role of Vault that signs for the account of the lab, and a policy of the same name that allows it.
fn make_signing(centre: &Centre, name: &str, account: &str) {
    let admin = centre.bao.admin().unwrap();
    let mut role = admin.get("ssh/roles/sre-core").unwrap()["data"].take();
    role["allowed_users"] = json!(account);
    admin.post(&format!("ssh/roles/{name}"), &role).unwrap();
    let rule = format!("path \"ssh/sign/{name}\" {{ capabilities = [\"update\"] }}");
    let policy = format!("sys/policies/acl/{name}");
    admin.post(&policy, &json!({"policy": rule})).unwrap();
}

fn signed_for(host: &LiveHost, person: &Client, key_id: &str, role: &str) -> Certificate {
    let account = host.lab.user();
    let sign = |public_key: &str| {
        let request = json!({
            "public_key": public_key, "valid_principals": account, "cert_type": "user",
        });
        let answer = person.post(&format!("ssh/sign/{role}"), &request)?;
        let serial = answer["data"]["serial_number"].as_str().unwrap();
        let signed = answer["data"]["signed_key"].as_str().unwrap();
        Ok((signed.to_owned(), u64::from_str_radix(serial, 16)?))
    };
    host.lab.certificate_by(key_id, sign).unwrap()
}

#[test]
fn a_revoked_user_has_no_access_left() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let krl = dir.path().join("revoked.krl");
    // Without a readable list, sshd refuses every key.
    fs::write(&krl, "").unwrap();
    let options = Options {
        trusted: vec![centre.ssh_authority().unwrap()],
        sshd: format!("RevokedKeys {}\n", krl.display()),
        ..Options::default()
    };
    let Some(host) = LiveHost::start("live-revoke", options) else {
        return;
    };
    let signing = "live-revoke";
    make_signing(centre, signing, host.lab.user());
    let leaver = centre.person("leaver", &["vctl-user", signing]).unwrap();
    let stayer = centre.person("stayer", &["vctl-user", signing]).unwrap();
    let responder = centre.person("revoker", &["vctl-revoke"]).unwrap();
    let credential = leaver.credential("vctl-ro").unwrap();
    let select = |login| centre.postgres.psql_as(login, "select 1");
    assert!(select(credential.login()).is_ok());
    let stolen = signed_for(&host, &leaver, "userpass-leaver", signing);
    let other = signed_for(&host, &stayer, "userpass-stayer", signing);
    let script = "echo $$ > leaver; touch userpass-leaver-inside; exec sleep 1000";
    let mut session = host.log_in_with(&stolen, script);
    let pid = host.pid("leaver");

    let revoke = |more: &[&str]| host.vctl(&responder, &[&["revoke"], more].concat());
    let plan = revoke(&["leaver", "--dry-run"]);
    assert!(plan.status.success(), "{}", said(&plan));
    for part in ["userpass-leaver: 1 token", &session.id, "1 certificate"] {
        assert!(said(&plan).contains(part), "{part}: {}", said(&plan));
    }
    assert!(leaver.get("auth/token/lookup-self").is_ok() && is_running(pid));

    let path = krl.to_str().unwrap();
    let reason = ["--yes", "--reason", "INC-43", "--krl", path];
    let done = revoke(&[&["leaver"], reason.as_slice()].concat());
    assert!(done.status.success(), "{}", said(&done));
    assert!(leaver.get("auth/token/lookup-self").is_err());
    let again = centre.person("leaver", &["vctl-user"]);
    assert!(again.is_err(), "the user can log in again");
    assert!(select(credential.login()).is_err(), "the login is left");
    assert!(!is_running(pid), "the session is left");
    assert!(!session.client.wait().unwrap().success());
    // A stolen copy of the certificate.
    let refused = host.lab.ssh(&stolen, "true").unwrap();
    assert!(!refused.status.success(), "{refused:?}");
    let list = listed(&krl);
    assert!(
        list.contains(&format!("serial: {}", stolen.serial)),
        "{list}"
    );
    assert!(list.contains("id: userpass-leaver"), "{list}");

    // Nothing of another user is touched.
    assert!(stayer.get("auth/token/lookup-self").is_ok());
    host.lab.ssh_ok(&other, "true").unwrap();

    let row = "select requested_by, reason, outcome ->> 'tokens_revoked', outcome ->> 'sessions_ended' \
               from vctl.revocation where 'userpass-leaver' = any(names)";
    let expected = "userpass-revoker|INC-43|1|1";
    assert_eq!(centre.ask(row).unwrap(), expected);
    let again = revoke(&["userpass-leaver", "--yes"]);
    assert!(again.status.success(), "{}", said(&again));
    assert!(
        said(&again).contains("0 tokens revoked"),
        "{}",
        said(&again)
    );
}

#[test]
fn a_part_that_is_not_reached_is_stated() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let options = Options {
        trusted: vec![centre.ssh_authority().unwrap()],
        ..Options::default()
    };
    let Some(mut host) = LiveHost::start("live-missed", options) else {
        return;
    };
    let signing = "live-missed";
    make_signing(centre, signing, host.lab.user());
    let absent = centre.person("absent", &["vctl-user", signing]).unwrap();
    let responder = centre.person("misser", &["vctl-revoke"]).unwrap();
    let script = "echo $$ > absent; touch userpass-absent-inside; exec sleep 1000";
    let who = signed_for(&host, &absent, "userpass-absent", signing);
    let session = host.log_in_with(&who, script);
    host.lab.agent.kill().unwrap();
    let output = host.vctl(&responder, &["revoke", "absent", "--yes", "--wait", "1s"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let stated = said(&output);
    assert!(stated.contains("1 token revoked"), "{stated}");
    assert!(
        stated.contains("a part of the access of userpass-absent is not revoked"),
        "{stated}"
    );
    assert!(
        stated.contains(&session.id) && stated.contains("did not answer"),
        "{stated}"
    );
    assert!(absent.get("auth/token/lookup-self").is_err());
    // The request stays, and the next agent ends the session.
    host.lab.agent.start().unwrap();
    let pid = host.pid("absent");
    assert!(eventually(PATIENCE, || Ok(!is_running(pid))).unwrap());
    session.hang_up();
}

#[test]
fn a_session_of_a_child_token_is_stated() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let options = Options {
        trusted: vec![centre.ssh_authority().unwrap()],
        ..Options::default()
    };
    let Some(host) = LiveHost::start("live-child", options) else {
        return;
    };
    let signing = "live-child";
    make_signing(centre, signing, host.lab.user());
    let rule = "path \"auth/token/create\" { capabilities = [\"update\"] }";
    let admin = centre.bao.admin().unwrap();
    let policy = json!({"policy": rule});
    admin.post("sys/policies/acl/creates", &policy).unwrap();
    let policies = ["vctl-user", signing, "creates"];
    let parent = centre.person("parent", &policies).unwrap();
    let wish = json!({"display_name": "ci-parent"});
    let made = parent.post("auth/token/create", &wish).unwrap();
    let child = Secret::new(made["auth"]["client_token"].as_str().unwrap());
    let child = parent.with_token(child);
    let name = "token-ci-parent";
    let who = signed_for(&host, &child, name, signing);
    let script = "echo $$ > child; touch token-ci-parent-inside; exec sleep 1000";
    let session = host.log_in_with(&who, script);
    let responder = centre.person("child-revoker", &["vctl-revoke"]).unwrap();
    let plan = host.vctl(&responder, &["revoke", "parent", "--dry-run"]);
    let shared = format!("tokens with the shared name {name}");
    assert!(said(&plan).contains(&shared), "{}", said(&plan));

    let output = host.vctl(&responder, &["revoke", "parent", "--yes"]);
    let stated = words(&said(&output));
    assert_eq!(output.status.code(), Some(1), "{stated}");
    assert!(child.get("auth/token/lookup-self").is_err(), "{stated}");
    let left = format!(
        "access under the name {name}, which tokens of other users may have: 1 live session, 1 certificate of the \
         last day, 0 database logins; `vctl session --live --user {name}` lists"
    );
    assert!(stated.contains(&left), "{stated}");
    let recorded = "select outcome -> 'missed' ->> 0 from vctl.revocation where 'userpass-parent' = any(names)";
    assert!(centre.ask(recorded).unwrap().contains(name));

    // The command that the message names ends it.
    let listed = host.vctl(
        &host.auditor,
        &["session", "--live", "--user", name, "-o", "json"],
    );
    let listed = String::from_utf8_lossy(&listed.stdout);
    assert!(listed.contains(&session.id), "{listed}");
    let ended = host.end(&session.id, &[]);
    assert!(ended.status.success(), "{}", said(&ended));
    assert!(!is_running(host.pid("child")));
    session.hang_up();
}

#[test]
fn more_sessions_than_the_limit_are_stated_and_recorded() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let _open = Unanswered::insert(centre, "revoke-crowd", "userpass-crowd", 300);
    let responder = centre.person("counter", &["vctl-revoke"]).unwrap();
    let arguments = ["revoke", "userpass-crowd", "--yes", "--wait", "1s"];
    let command = vctl_command(centre, &responder, &arguments);
    let mut terminal = Terminal::start(command, 200).unwrap();
    terminal
        .wait_for("waiting for the hosts of 256 live sessions")
        .unwrap();
    let ended = terminal.end().unwrap();
    let stated = words(&terminal.shown());
    assert_eq!(ended.code(), Some(1), "{stated}");
    let more = "the end of 256 was requested, and more may be open";
    assert!(stated.contains(more), "{stated}");
    assert!(!stated.contains("record:"), "{stated}");
    let row = "select jsonb_array_length(outcome -> 'missed'), outcome -> 'missed_more' \
               from vctl.revocation where 'userpass-crowd' = any(names)";
    assert_eq!(centre.ask(row).unwrap(), "40|217");
}

#[test]
fn a_name_found_after_the_question_is_recorded() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let admin = centre.bao.admin().unwrap();
    let victim = centre.person("renamed", &["vctl-user"]).unwrap();
    let token = victim.get("auth/token/lookup-self").unwrap();
    let responder = centre.person("renamer", &["vctl-revoke"]).unwrap();
    let command = vctl_command(centre, &responder, &["revoke", "renamed"]);
    let mut terminal = Terminal::start(command, 200).unwrap();
    terminal.wait_for("[y/N]").unwrap();
    // Now the user logs in by another method, and gets a certificate under the name of that login.
    let post = |path: &str, body| admin.post(path, &body).unwrap();
    post("sys/auth/second", json!({"type": "userpass"}));
    let mounts = admin.get("sys/auth").unwrap();
    let alias = json!({
        "name": "other", "canonical_id": token["data"]["entity_id"],
        "mount_accessor": mounts["data"]["second/"]["accessor"],
    });
    post("identity/entity-alias", alias);
    let login = json!({"password": "a", "policies": ["vctl-user"]});
    post("auth/second/users/other", login);
    post("auth/second/login/other", json!({"password": "a"}));
    let row = "insert into vctl.access_log (vault_user, opened_at, hostname, login_user, cert_serial) \
               values ('second-other', now(), 'renamed-1', 'root', 77001)";
    centre.ask(row).unwrap();
    terminal.type_in("y\n").unwrap();
    let ended = terminal.end().unwrap();
    assert_eq!(ended.code(), Some(0), "{}", terminal.shown());
    let rows = "select names, outcome ->> 'tokens_revoked', outcome ->> 'certificates_of_last_day', \
                    (outcome ->> 'continued_as')::bigint = max(id) over () \
                from vctl.revocation where 'userpass-renamed' = any(names) order by id";
    let expected = "{userpass-renamed}|||t\n{second-other,userpass-renamed}|2|1|";
    assert_eq!(centre.ask(rows).unwrap(), expected);
}

#[test]
fn a_mistaken_name_revokes_nothing() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let responder = centre.person("careful", &["vctl-revoke"]).unwrap();
    let run = |arguments: &[&str]| {
        let output = vctl_command(centre, &responder, arguments).output();
        let output = output.unwrap();
        (output.status.code(), said(&output))
    };
    let long = "x".repeat(501);
    for (arguments, status, part) in [
        (&["revoke", "careful", "--yes"][..], 2, "your own access"),
        (
            &["revoke", "approle", "--yes"],
            2,
            "several users or machines",
        ),
        (&["revoke", "nobody-here", "--yes"], 66, "knows a user"),
        (
            &["revoke", "careful", "--no-input"],
            2,
            "needs confirmation",
        ),
        (
            &["revoke", "nobody-here", "--yes", "--reason", &long],
            2,
            "at most 500",
        ),
    ] {
        let (code, stated) = run(arguments);
        assert_eq!(code, Some(status), "{arguments:?}: {stated}");
        assert!(stated.contains(part), "{stated}");
    }
    assert!(responder.get("auth/token/lookup-self").is_ok());
}

#[test]
fn the_policy_disables_users_and_changes_nothing_else() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let responder = centre.person("narrow", &["vctl-revoke"]).unwrap();
    centre.person("victim", &["vctl-user"]).unwrap();
    let admin = centre.bao.admin().unwrap();
    let own = responder.get("auth/token/lookup-self").unwrap();
    let own = own["data"]["entity_id"].as_str().unwrap();
    let path = format!("identity/entity/id/{own}");
    for body in [
        json!({"policies": ["vctl-admin"]}),
        json!({"disabled": true, "policies": ["vctl-admin"]}),
        json!({"disabled": false}),
        json!({"name": "other"}),
    ] {
        let status = responder.call("POST", &path, Some(&body)).unwrap().status;
        assert_eq!(status, 403, "{body}");
    }
    let before = admin.get(&path).unwrap();
    assert_eq!(before["data"]["policies"], json!([]), "{before}");
}
