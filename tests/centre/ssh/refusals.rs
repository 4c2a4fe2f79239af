//! A refused user gets the reason from the system that refuses, and the request is on record.

use std::fs;

use serde_json::json;

use super::{Operator, shared};

#[test]
fn vault_signs_only_for_the_users_of_the_role() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-nosign");
    let host = centre.host.as_ref().unwrap();
    operator.inventory("nosign-1", "127.0.0.1", host.port(), "nobody");
    operator.remembers(&format!("nosign-1 {}\n", host.public_key()));
    let said = operator.ssh(&["nosign-1", "--", "true"]);
    assert_eq!(said.code, 77, "{said:?}");
    assert!(
        said.stderr
            .contains("Vault signs no key for `nobody` with role `sre-core`"),
        "{}",
        said.stderr
    );
    let rows = operator.accesses("nosign-1");
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (&rows[0]["result"], rows[0]["cert_serial"].is_null()),
        (&"refused".into(), true)
    );
}

#[test]
fn a_missing_ssh_policy_is_named() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-nopolicy");
    operator.knows("nopolicy-1", centre.host.as_ref().unwrap());
    let admin = centre.bao.admin().unwrap();
    let policies = json!({"policies": ["vctl-user"]});
    admin
        .post("auth/userpass/users/ssh-nopolicy", &policies)
        .unwrap();
    let password = json!({"password": "another-one"});
    admin
        .post("auth/userpass/users/ssh-nopolicy/password", &password)
        .unwrap();
    let args = ["login", "--username", "ssh-nopolicy", "--password-stdin"];
    assert_eq!(operator.at.given(&args, "another-one").code, 0);
    let said = operator.ssh(&["nopolicy-1", "--", "true"]);
    assert_eq!(said.code, 77, "{said:?}");
    assert!(said.stderr.contains("`vctl-ssh`"), "{}", said.stderr);
}

#[test]
fn a_host_without_our_ca_is_named_with_a_remedy() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-untrusted");
    let host = centre.another_host("untrusted").unwrap();
    host.trust_nobody().unwrap();
    operator.knows("untrusted-1", &host);
    let said = operator.ssh(&["untrusted-1", "--", "true"]);
    assert_eq!(said.code, 77, "{said:?}");
    assert!(
        said.stderr.contains("`vctl trust-ca untrusted-1`"),
        "{}",
        said.stderr
    );
    assert!(
        said.stderr
            .contains("if the clock of `untrusted-1` is more than"),
        "{}",
        said.stderr
    );
    assert_eq!(operator.accesses("untrusted-1")[0]["result"], "refused");
}

#[test]
fn an_unreadable_known_hosts_file_refuses_all_hosts() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-unreadable");
    operator.knows("unreadable-1", centre.host.as_ref().unwrap());
    let path = operator.known_hosts();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let said = operator.ssh(&["unreadable-1", "--", "true"]);
    assert_eq!(said.code, 76, "{said:?}");
    assert!(
        said.stderr.contains("cannot read host keys in"),
        "{}",
        said.stderr
    );
}

#[test]
fn a_role_that_is_not_there_is_named_with_its_host() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-norole");
    let host = centre.host.as_ref().unwrap();
    operator.knows("norole-1", host);
    let role = "update vctl.servers set ca_role = 'gone' where hostname = 'norole-1'";
    centre
        .postgres
        .psql(vctl_tests::centre::DATABASE, role)
        .unwrap();
    let said = operator.ssh(&["norole-1", "--", "true"]);
    assert_eq!(said.code, 78, "{said:?}");
    let hint = "`vctl edit norole-1 --ca-role ROLE`";
    assert!(said.stderr.contains("no role `gone` at `ssh/`"), "{said:?}");
    assert!(said.stderr.contains(hint), "{said:?}");
}
