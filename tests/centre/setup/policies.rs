//! The rights of each policy in Vault.

use serde_json::json;
use vctl_tests::centre::{Centre, Client, DATABASE};

use crate::fixture::markdown_table;

/// `c`reate, `r`ead, `u`pdate, `d`elete, `l`ist, `s`udo. SELF is the host of the token, OTHER is another host.
const REACH: &str = "
| path                                                              | default | user | ssh | auditor | admin | node | collector | host | pruner | enroll | session-end | revoke | stream-ingest |
| ----------------------------------------------------------------- | ------- | ---- | --- | ------- | ----- | ---- | --------- | ---- | ------ | ------ | ----------- | ------ | ------------- |
| `database/creds/vctl-ro`                                          |         | r    |     |         | r     |      |           |      |        | r      |             |        |               |
| `database/creds/vctl-rw`                                          |         |      |     |         | r     |      |           |      |        | r      |             |        |               |
| `database/creds/vctl-identity`                                    |         | r    |     |         |       |      |           |      |        |        |             |        |               |
| `database/creds/vctl-audit-ro`                                    |         |      |     | r       | r     |      |           |      |        |        |             |        |               |
| `database/creds/vctl-audit-writer`                                |         |      | r   |         |       |      |           |      |        |        |             |        |               |
| `database/creds/vctl-pruner`                                      |         |      |     |         | r     |      |           |      | r      |        |             |        |               |
| `database/creds/vctl-migrator`                                    |         |      |     |         | r     |      |           |      |        |        |             |        |               |
| `database/creds/vctl-audit-ingest`                                |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `database/creds/vctl-status`                                      |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `database/creds/vctl-audit-ingest-SELF`                           |         |      |     |         |       |      | r         | r    |        |        |             |        |               |
| `database/creds/vctl-status-SELF`                                 |         |      |     |         |       | r    |           | r    |        |        |             |        |               |
| `database/creds/vctl-audit-ingest-OTHER`                          |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `database/creds/vctl-status-OTHER`                                |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `sys/leases/revoke`                                               |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `sys/leases/revoke/database/creds/vctl-ro/ID`                     |         | u    |     |         | u     |      |           |      |        | u      |             |        |               |
| `sys/leases/revoke/database/creds/vctl-rw/ID`                     |         |      |     |         | u     |      |           |      |        | u      |             |        |               |
| `sys/leases/revoke/database/creds/vctl-identity/ID`               |         | u    |     |         |       |      |           |      |        |        |             |        |               |
| `sys/leases/revoke/database/creds/vctl-audit-ro/ID`               |         |      |     | u       | u     |      |           |      |        |        |             |        |               |
| `sys/leases/revoke/database/creds/vctl-audit-writer/ID`           |         |      | u   |         |       |      |           |      |        |        |             |        |               |
| `sys/leases/revoke/database/creds/vctl-pruner/ID`                 |         |      |     |         | u     |      |           |      | u      |        |             |        |               |
| `sys/leases/revoke/database/creds/vctl-migrator/ID`               |         |      |     |         | u     |      |           |      |        |        |             |        |               |
| `sys/leases/revoke/database/creds/vctl-audit-ingest-SELF/ID`      |         |      |     |         |       |      | u         | u    |        |        |             |        |               |
| `sys/leases/revoke/database/creds/vctl-status-SELF/ID`            |         |      |     |         |       | u    |           | u    |        |        |             |        |               |
| `sys/leases/revoke/database/creds/vctl-audit-ingest-OTHER/ID`     |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `sys/leases/revoke/database/creds/vctl-status-OTHER/ID`           |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `sys/leases/revoke-prefix/database/creds/vctl-ro`                 |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `sys/leases/revoke-prefix/database/creds/vctl-status-OTHER`       |         |      |     |         |       |      |           |      |        | us     |             |        |               |
| `sys/leases/revoke-prefix/database/creds/vctl-audit-ingest-OTHER` |         |      |     |         |       |      |           |      |        | us     |             |        |               |
| `sys/leases/lookup/database/creds/vctl-ro`                        |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `database/roles`                                                  |         |      |     |         |       |      |           |      |        | l      |             |        |               |
| `database/roles/vctl-ro`                                          |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `database/roles/vctl-audit-ingest-OTHER`                          |         |      |     |         |       |      |           |      |        | crud   |             |        |               |
| `database/roles/vctl-status-OTHER`                                |         |      |     |         |       |      |           |      |        | crud   |             |        |               |
| `database/config/vctl`                                            |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `database/rotate-root/vctl`                                       |         |      |     |         | u     |      |           |      |        |        |             |        |               |
| `ssh/sign/sre-core`                                               |         |      | u   |         |       |      |           |      |        |        |             |        |               |
| `ssh/sign/vctl-host`                                              |         |      |     |         | u     |      |           |      |        |        |             |        |               |
| `ssh/issue/sre-core`                                              |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `ssh/roles/sre-core`                                              |         |      |     |         | r     |      |           |      |        |        |             |        |               |
| `ssh/roles/vctl-host`                                             |         |      |     |         | r     |      |           |      |        |        |             |        |               |
| `ssh/config/ca`                                                   |         |      | r   |         | rud   |      |           |      |        |        |             |        |               |
| `ssh-next/sign/sre-core`                                          |         |      | u   |         |       |      |           |      |        |        |             |        |               |
| `ssh-next/sign/vctl-host`                                         |         |      |     |         | u     |      |           |      |        |        |             |        |               |
| `ssh-next/issue/sre-core`                                         |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `ssh-next/roles/sre-core`                                         |         |      |     |         | r     |      |           |      |        |        |             |        |               |
| `ssh-next/roles/vctl-host`                                        |         |      |     |         | r     |      |           |      |        |        |             |        |               |
| `ssh-next/config/ca`                                              |         |      | r   |         | rud   |      |           |      |        |        |             |        |               |
| `auth/approle/role/OTHER`                                         |         |      |     |         |       |      |           |      |        | crud   |             |        |               |
| `auth/approle/role/OTHER/role-id`                                 |         |      |     |         |       |      |           |      |        | r      |             |        |               |
| `auth/approle/role/OTHER/secret-id`                               |         |      |     |         |       |      |           |      |        | u      |             |        |               |
| `auth/approle/role/OTHER/secret-id/destroy`                       |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `auth/approle/role/OTHER/policies`                                |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `auth/approle/role/SELF`                                          |         |      |     |         |       |      |           |      |        | crud   |             |        |               |
| `auth/approle/role/SELF/secret-id`                                |         |      |     |         |       | u    | u         | u    |        | u      |             |        |               |
| `auth/approle/role/SELF/secret-id/lookup`                         |         |      |     |         |       | u    | u         | u    |        |        |             |        |               |
| `auth/approle/role/SELF/secret-id/destroy`                        |         |      |     |         |       | u    | u         | u    |        |        |             |        |               |
| `auth/approle/role`                                               |         |      |     |         |       |      |           |      |        | l      |             |        |               |
| `auth/approle/role/VCTL-pruner`                                   |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `auth/approle/role/Vctl-Enroll/secret-id`                         |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `auth/approle/role/vctl-user`                                     |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `auth/approle/role/vctl-user/role-id`                             |         | r    |     |         |       |      |           |      |        |        |             |        |               |
| `auth/approle/role/vctl-user/secret-id`                           |         | u    |     |         |       |      |           |      |        |        |             |        |               |
| `auth/approle/role/vctl-pruner/secret-id`                         |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `auth/approle/role/vctl-enroll/secret-id`                         |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `auth/userpass/users/albert`                                      |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `auth/token/create`                                               |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `auth/token/lookup-self`                                          | r       | r    | r   | r       | r     | r    | r         | r    | r      | r      | r           | r      | r             |
| `auth/token/renew-self`                                           | u       | u    | u   | u       | u     | u    | u         | u    | u      | u      | u           | u      | u             |
| `auth/token/revoke-self`                                          | u       | u    | u   | u       | u     | u    | u         | u    | u      | u      | u           | u      | u             |
| `sys/policies/acl/vctl-user`                                      |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `identity/group/name/vctl-admins`                                 |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `identity/entity`                                                 |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `sys/mounts/database`                                             |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `sys/auth/approle`                                                |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `sys/audit/file`                                                  |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `database/creds/vctl-session-end`                                 |         |      |     |         | r     |      |           |      |        |        | r           |        |               |
| `database/creds/vctl-revoke`                                      |         |      |     |         | r     |      |           |      |        |        |             | r      |               |
| `sys/leases/revoke/database/creds/vctl-session-end/ID`            |         |      |     |         | u     |      |           |      |        |        | u           |        |               |
| `sys/leases/revoke/database/creds/vctl-revoke/ID`                 |         |      |     |         | u     |      |           |      |        |        |             | u      |               |
| `identity/entity-alias/id`                                        |         |      |     |         |       |      |           |      |        |        |             | l      |               |
| `identity/entity/id/ID`                                           |         |      |     |         |       |      |           |      |        |        |             | u      |               |
| `identity/entity/name/NAME`                                       |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `auth/token/accessors`                                            |         |      |     |         |       |      |           |      |        |        |             | ls     |               |
| `auth/token/lookup-accessor`                                      |         |      |     |         |       |      |           |      |        |        |             | u      |               |
| `auth/token/revoke-accessor`                                      |         |      |     |         |       |      |           |      |        |        |             | u      |               |
| `database/creds/vctl-stream-ingest`                               |         |      |     |         |       |      |           |      |        |        |             |        | r             |
| `sys/leases/revoke/database/creds/vctl-stream-ingest/ID`          |         |      |     |         |       |      |           |      |        |        |             |        | u             |
| `auth/approle/role/vctl-stream-ingest`                            |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `auth/approle/role/vctl-stream-ingest/secret-id`                  |         |      |     |         |       |      |           |      |        |        |             |        |               |
| `auth/approle/role/vctl-stream-ingest/secret-id/lookup`           |         |      |     |         |       |      |           |      |        |        |             |        | u             |
";

const OTHER: &str = "reach-other";

#[test]
fn each_policy_has_exactly_its_rights() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    markdown_table::assert_in_readme(REACH);
    let other = centre.enroll(OTHER).unwrap().approle;
    let rows = markdown_table::rows(REACH);
    let mut wrong = Vec::new();
    for (column, (policy, _)) in rows[0].cells.iter().enumerate() {
        let (client, own) = holder(centre, policy);
        for row in &rows {
            let path = row.name.replace("SELF", &own).replace("OTHER", &other);
            let expected = &row.cells[column].1;
            let found = capabilities(&client, &path);
            if found != *expected {
                wrong.push(format!(
                    "{policy} has `{found}` on {path}, not `{expected}`"
                ));
            }
            // The spec checks Vault's answer about the rights, and then makes the request itself.
            if path.starts_with("database/creds/") {
                let status = client.call("GET", &path, None).unwrap().status;
                let allowed = if expected == "r" { 200 } else { 403 };
                if status != allowed {
                    wrong.push(format!("{policy} was answered {status} on {path}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns a client with only this policy, and the host that SELF stands for.
fn holder(centre: &Centre, policy: &str) -> (Client, String) {
    let name = format!("vctl-{policy}");
    let host = format!("reach-{policy}");
    match policy {
        "default" => (centre.with_policies(&["default"]).unwrap(), host),
        "node" | "collector" | "host" => {
            let identity = centre.enroll_as(&host, &name).unwrap();
            (centre.as_host(&identity).unwrap(), identity.approle)
        }
        _ => (centre.with_policies(&[&name]).unwrap(), host),
    }
}

fn capabilities(client: &Client, path: &str) -> String {
    let asked = json!({"paths": [path]});
    let answer = client.post("sys/capabilities-self", &asked).unwrap();
    let has = |name: &str| {
        let list = answer["data"][path].as_array().unwrap();
        list.iter().any(|capability| capability == name)
    };
    assert!(!has("root"), "{path}");
    let letters = [
        ("create", 'c'),
        ("read", 'r'),
        ("update", 'u'),
        ("delete", 'd'),
        ("list", 'l'),
        ("patch", 'p'),
        ("sudo", 's'),
    ];
    let held = letters.iter().filter(|(name, _)| has(name));
    held.map(|(_, letter)| letter).collect()
}

#[test]
fn a_teammate_needs_one_command() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let person = centre.person("newcomer", &["vctl-user"]).unwrap();
    let credential = person.credential("vctl-ro").unwrap();
    let count = "select count(*) >= 0 from vctl.servers";
    let seen = centre.postgres.psql_as(credential.login(), count).unwrap();
    assert_eq!(seen, "t");
    person.revoke(&credential).unwrap();
    let identity = person.credential("vctl-identity").unwrap();
    let call = "select vctl.seen_v1('userpass-newcomer', '0.1.0')";
    centre.postgres.psql_as(identity.login(), call).unwrap();
    let sql = "select vctl_version from vctl.seen_users where vault_user = 'userpass-newcomer'";
    assert_eq!(centre.postgres.psql(DATABASE, sql).unwrap(), "0.1.0");
}

#[test]
fn any_login_may_register_a_machine() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let person = centre.person("registrar", &["vctl-user"]).unwrap();
    let path = "auth/approle/role/vctl-user";
    let role_id = person.get(&format!("{path}/role-id")).unwrap();
    let secret_id = person
        .post(&format!("{path}/secret-id"), &json!({}))
        .unwrap();
    let ids = json!({
        "role_id": role_id["data"]["role_id"],
        "secret_id": secret_id["data"]["secret_id"],
    });
    let anonymous = centre.bao.anonymous().unwrap();
    let made = anonymous.post("auth/approle/login", &ids).unwrap();
    let token = made["auth"]["client_token"].as_str().unwrap();
    let machine = anonymous.with_token(vctl_tests::centre::Secret::new(token));
    let itself = machine.get("auth/token/lookup-self").unwrap();
    assert_eq!(itself["data"]["display_name"], "approle");
    machine.credential("vctl-ro").unwrap();
    assert!(machine.credential("vctl-rw").is_err());
}
