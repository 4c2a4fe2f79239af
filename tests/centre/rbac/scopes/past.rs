//! Requests of a user with the policy of a scope and another client: the second half of the permission matrix.

use vctl_tests::centre::{Client, Host};

use super::Signed;
use crate::fixture::markdown_table;
use crate::rbac::matrix::assert_in_docs;
use crate::rbac::{accepts_scopes, narrowed};

/// Holders of `vctl-user` and the policy of the column, with `curl` and `ssh`.
const PAST_VCTL: &str = "
| request                                  | `vctl-ssh` | `vctl-scope-dc-seoul` | `vctl-scope-dc-seoul.user-ACCOUNT` |
| ---------------------------------------- | ---------- | --------------------- | ---------------------------------- |
| Vault: sign for `ACCOUNT` on all hosts   | yes        |                       |                                    |
| Vault: sign for `ACCOUNT` in `dc=seoul`  |            | yes                   | yes                                |
| Vault: sign for `ACCOUNT` in `dc=busan`  |            |                       |                                    |
| Vault: sign for `root` in `dc=seoul`     |            |                       |                                    |
| Vault: sign without a principal          |            |                       |                                    |
| sshd in `seoul`: log in as `ACCOUNT`     | yes        | yes                   | yes                                |
| sshd in `busan`: log in as `ACCOUNT`     | yes        |                       |                                    |
| sshd without scopes: log in as `ACCOUNT` | yes        |                       |                                    |
| sshd in `seoul`: log in as `root`        | yes        |                       |                                    |
";

/// Roles that the holders ask. The text `ACCOUNT` stands for the account of the hosts.
const ROLES: [&str; 6] = [
    "sre-core",
    "vctl-host",
    "vctl-scope-dc-seoul",
    "vctl-scope-dc-seoul.user-ACCOUNT",
    "vctl-scope-dc-busan",
    "vctl-scope-dc-seoul.user-root",
];

/// Principals that the holders ask for, alone.
const PRINCIPALS: [&str; 7] = [
    "ACCOUNT",
    "root",
    "ACCOUNT@dc=seoul",
    "ACCOUNT@dc=busan",
    "root@dc=seoul",
    "*",
    "",
];

#[test]
fn a_scoped_policy_opens_no_host_outside_the_scope() {
    let Some(centre) = narrowed() else { return };
    assert_in_docs(PAST_VCTL);
    let seoul = centre.host.as_ref().unwrap();
    let busan = centre.another_host("past-busan").unwrap();
    accepts_scopes(&busan, &["dc=busan"]);
    let plain = centre.another_host("past-plain").unwrap();
    let account = seoul.user();
    let mut wrong = Vec::new();
    let rows = markdown_table::rows(PAST_VCTL);
    for (column, (policy, _)) in rows[0].cells.iter().enumerate() {
        let policy = policy.replace("ACCOUNT", account);
        let client = centre.with_policies(&["vctl-user", &policy]).unwrap();
        let holder = Holder::new(&client, account);
        for row in &rows {
            let request = row.name.replace('`', "");
            let found = match &*request {
                "Vault: sign for ACCOUNT on all hosts" => holder.has(account),
                "Vault: sign for ACCOUNT in dc=seoul" => holder.has(&format!("{account}@dc=seoul")),
                "Vault: sign for ACCOUNT in dc=busan" => holder.has(&format!("{account}@dc=busan")),
                "Vault: sign for root in dc=seoul" => holder.has("root@dc=seoul"),
                "Vault: sign without a principal" => holder.has(""),
                "sshd in seoul: log in as ACCOUNT" => holder.logs_in(seoul, account),
                "sshd in busan: log in as ACCOUNT" => holder.logs_in(&busan, account),
                "sshd without scopes: log in as ACCOUNT" => holder.logs_in(&plain, account),
                "sshd in seoul: log in as root" => holder.logs_in(seoul, "root"),
                _ => panic!("no request for `{request}`"),
            };
            let expected = row.cells[column].1 == "yes";
            if found != expected {
                wrong.push(format!("{policy}: {request}: {found}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// All certificates that a user gets from Vault.
struct Holder {
    /// Each with its principal.
    certificates: Vec<(String, Signed)>,
}

impl Holder {
    fn new(client: &Client, account: &str) -> Self {
        let mut certificates = Vec::new();
        for role in ROLES {
            for principal in PRINCIPALS {
                let principal = principal.replace("ACCOUNT", account);
                let role = role.replace("ACCOUNT", account);
                if let Ok(signed) = Signed::by(client, &role, &principal) {
                    certificates.push((principal, signed));
                }
            }
        }
        Self { certificates }
    }

    fn has(&self, principal: &str) -> bool {
        self.certificates.iter().any(|(name, _)| name == principal)
    }

    fn logs_in(&self, host: &Host, user: &str) -> bool {
        let mut certificates = self.certificates.iter();
        certificates.any(|(_, signed)| signed.logs_in(host.port(), user))
    }
}
