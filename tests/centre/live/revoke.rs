//! `vctl revoke` ends the access of a user in Vault, in Postgres, on the host, and for sshd.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use vctl_tests::centre::{Centre, Client};
use vctl_tests::lab::{Certificate, Options, PATIENCE, eventually};

use super::{LiveHost, is_running, said};

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

/// Returns what `ssh-keygen` reads from a list.
fn listed(krl: &Path) -> String {
    let output = Command::new("ssh-keygen")
        .args(["-Q", "-l", "-f"])
        .arg(krl)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
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
fn a_mistaken_name_revokes_nothing() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let responder = centre.person("careful", &["vctl-revoke"]).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(vctl_tests::lab::Programs::find().unwrap().vctl)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(centre.environment())
            .env("VAULT_TOKEN", responder.token().expose())
            .output()
            .unwrap();
        (output.status.code(), said(&output))
    };
    for (arguments, status, part) in [
        (&["revoke", "careful", "--yes"], 2, "your own access"),
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
