//! The permission matrix of docs/rbac.md: through vctl, and past it.

use std::fs;
use std::process::Command;

use serde_json::json;
use vctl_tests::centre::{Centre, Client, Host};

use super::{ADMIN, User, adds_host, knows, narrowed, sql};
use crate::fixture::markdown_table;
use crate::login::Said;

/// `yes`: the command runs. `grant`: the gate of vctl refuses it. `policy`: Vault refuses it.
const WITH_VCTL: &str = "
| grants                          | policies                         | `ssh web-1` | `ssh db-1` | `ssh web-2` | `ssh -l root web-1` | `ssh ADDRESS` | `proxy web-1` | `exec` | `sync` | `prune` | `trust-ca` | `token` | `list` | `rbac grant` |
| ------------------------------- | -------------------------------- | ----------- | ---------- | ----------- | ------------------- | ------------- | ------------- | ------ | ------ | ------- | ---------- | ------- | ------ | ------------ |
| none                            | vctl-ssh                         | grant       | grant      | grant       | grant               | grant         | grant         | grant  | grant  | policy  | grant      | yes     | yes    | policy       |
| `*`                             | vctl-ssh                         | yes         | yes        | yes         | yes                 | yes           | yes           | yes    | yes    | policy  | yes        | yes     | yes    | policy       |
| `ssh`                           | vctl-ssh                         | yes         | yes        | yes         | yes                 | yes           | yes           | grant  | grant  | policy  | grant      | yes     | yes    | policy       |
| `ssh:dc=seoul`                  | vctl-ssh                         | yes         | grant      | yes         | yes                 | grant         | yes           | grant  | grant  | policy  | grant      | yes     | yes    | policy       |
| `ssh:host=web-*`                | vctl-ssh                         | yes         | grant      | yes         | yes                 | grant         | yes           | grant  | grant  | policy  | grant      | yes     | yes    | policy       |
| `ssh:user=ACCOUNT`              | vctl-ssh                         | yes         | yes        | yes         | grant               | yes           | yes           | grant  | grant  | policy  | grant      | yes     | yes    | policy       |
| `ssh:user=other`                | vctl-ssh                         | grant       | grant      | grant       | grant               | grant         | grant         | grant  | grant  | policy  | grant      | yes     | yes    | policy       |
| `ssh:dc=seoul,host=db-*`        | vctl-ssh                         | grant       | grant      | grant       | grant               | grant         | grant         | grant  | grant  | policy  | grant      | yes     | yes    | policy       |
| `ssh:dc=busan,user=ACCOUNT`     | vctl-ssh                         | grant       | yes        | grant       | grant               | grant         | grant         | grant  | grant  | policy  | grant      | yes     | yes    | policy       |
| `ssh:dc=seoul`                  | vctl-scope-dc-seoul              | yes         | grant      | policy      | policy              | grant         | yes           | grant  | grant  | policy  | grant      | yes     | yes    | policy       |
| `ssh:host=web-*`                | vctl-scope-host-web-_            | yes         | grant      | policy      | policy              | grant         | yes           | grant  | grant  | policy  | grant      | yes     | yes    | policy       |
| `ssh:dc=seoul,user=ACCOUNT`     | vctl-scope-dc-seoul.user-ACCOUNT | yes         | grant      | policy      | grant               | grant         | yes           | grant  | grant  | policy  | grant      | yes     | yes    | policy       |
| `ssh:dc=seoul` + `ssh:dc=busan` | vctl-scope-dc-seoul              | yes         | policy     | policy      | policy              | grant         | yes           | grant  | grant  | policy  | grant      | yes     | yes    | policy       |
| `ssh:dc=seoul` + `ssh`          | vctl-scope-dc-seoul              | yes         | policy     | policy      | policy              | policy        | yes           | grant  | grant  | policy  | grant      | yes     | yes    | policy       |
| `ssh`                           | vctl-scope-dc-seoul              | policy      | policy     | policy      | policy              | policy        | policy        | grant  | grant  | policy  | grant      | yes     | yes    | policy       |
| none                            | vctl-scope-dc-seoul              | grant       | grant      | grant       | grant               | grant         | grant         | grant  | grant  | policy  | grant      | yes     | yes    | policy       |
| `exec`                          | vctl-ssh                         | grant       | grant      | grant       | grant               | grant         | grant         | yes    | grant  | policy  | grant      | yes     | yes    | policy       |
| `sync`                          | vctl-ssh                         | grant       | grant      | grant       | grant               | grant         | grant         | grant  | yes    | policy  | grant      | yes     | yes    | policy       |
| `trust-ca`                      | vctl-ssh                         | grant       | grant      | grant       | grant               | grant         | grant         | grant  | grant  | policy  | yes        | yes     | yes    | policy       |
| `prune`                         | vctl-pruner                      | policy      | policy     | policy      | policy              | policy        | policy        | grant  | grant  | yes     | grant      | yes     | yes    | policy       |
| none                            | vctl-pruner                      | policy      | policy     | policy      | policy              | policy        | policy        | grant  | grant  | grant   | grant      | yes     | yes    | policy       |
| `*`                             |                                  | policy      | policy     | policy      | policy              | policy        | policy        | yes    | yes    | policy  | yes        | yes     | yes    | policy       |
| none                            | vctl-admin                       | policy      | policy     | policy      | policy              | policy        | policy        | yes    | yes    | yes     | yes        | yes     | yes    | yes          |
| none                            | vctl-admin, vctl-ssh             | yes         | yes        | yes         | yes                 | yes           | yes           | yes    | yes    | yes     | yes        | yes     | yes    | yes          |
| none                            | sre-admin, vctl-ssh              | yes         | yes        | yes         | yes                 | yes           | yes           | yes    | yes    | policy  | yes        | yes     | yes    | policy       |
";

/// Holders of one policy without any grant, with a client of their own.
const WITHOUT_VCTL: &str = "
| request                                                         | vctl-user | vctl-ssh | vctl-admin |
| --------------------------------------------------------------- | --------- | -------- | ---------- |
| Vault: sign a certificate for an account                        |           | yes      |            |
| sshd: log in with that certificate                              |           | yes      |            |
| Postgres: read the inventory                                    | yes       | yes      | yes        |
| Postgres: read all groups, members and grants                   | yes       |          | yes        |
| Postgres: read the own grants                                   | yes       | yes      | yes        |
| Postgres: write an access row in the own name                   |           | yes      | owner      |
| Postgres: write an access row in the name of another            |           |          | owner      |
| Postgres: change a grant, with a row in the record              |           |          | yes        |
| Postgres: change a grant in the name of another                 |           |          |            |
| Postgres: change a grant without a row in the record            |           |          | owner      |
| Postgres: add a row to the record in the name of another        |           |          | owner      |
| Postgres: change or delete a row of the record                  |           |          |            |
";

#[test]
fn each_user_may_run_exactly_the_commands_of_the_matrix() {
    let Some(centre) = narrowed() else { return };
    assert_in_docs(WITH_VCTL);
    let admin = User::new(centre, "matrix-admin", ADMIN);
    adds_host(centre, "web-1", "seoul");
    adds_host(centre, "db-1", "busan");
    adds_host(centre, "web-2", "seoul");
    sql(
        centre,
        "update vctl.servers set jump_via = 'db-1' where hostname = 'web-2'",
    );
    admin.ok(&["rbac", "group", "create", "matrix-target"]);
    let host = centre.host.as_ref().unwrap();
    let mut wrong = Vec::new();
    for (number, row) in markdown_table::rows(WITH_VCTL).iter().enumerate() {
        let (_, policies) = &row.cells[0];
        let policies = policies.split(", ").filter(|name| !name.is_empty());
        let policies: Vec<&str> = ["vctl-user"].into_iter().chain(policies).collect();
        let policies: Vec<String> = policies
            .iter()
            .map(|policy| policy.replace("ACCOUNT", host.user()))
            .collect();
        let policies: Vec<&str> = policies.iter().map(String::as_str).collect();
        let user = User::new(centre, &format!("matrix-{number}"), &policies);
        let grants = row.name.replace("ACCOUNT", host.user());
        let grants = grants.split("` + `").filter(|&grant| grant != "none");
        user.is_in(
            &admin,
            &format!("matrix-{number}"),
            &grants.collect::<Vec<_>>(),
        );
        let address = format!("[127.0.0.1]:{}", host.port());
        knows(&user, centre, &["web-1", "db-1", "web-2", &address]);
        for (command, expected) in &row.cells[1..] {
            let said = run(&user, host, command);
            let found = match said.code {
                77 if said.stderr.contains("may not run `vctl rbac grant`") => "policy",
                77 if said.stderr.contains("may not run `vctl ") => "grant",
                77 => "policy",
                _ => "yes",
            };
            let runs = match &**command {
                // The greeting of the host's sshd; vctl itself would send its own.
                "proxy web-1" => said.stdout.starts_with("SSH-2.0-OpenSSH"),
                // The exit status of its ssh, which cannot log in.
                "trust-ca" => said.code == 255,
                _ => said.code == 0,
            };
            if found != expected || (found == "yes" && !runs) {
                wrong.push(format!(
                    "{} with `{}` runs `{command}`: `{found}`, not `{expected}`: {said:?}",
                    row.name, row.cells[0].1
                ));
            }
            let host = command.strip_prefix("ssh ").unwrap_or_default();
            if ["web-1", "db-1", "web-2"].contains(&host) {
                let said = by_jump_host(&user, &["rbac", "check", "ssh", host]);
                if said.code != if expected == "yes" { 0 } else { 77 } {
                    wrong.push(format!(
                        "{} with `{}`: `{command}` is `{expected}`, and `check` says {said:?}",
                        row.name, row.cells[0].1
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs the command of a column. It changes nothing if it is allowed.
fn run(user: &User<'_>, host: &Host, column: &str) -> Said {
    let port = host.port().to_string();
    let address = format!("{}@127.0.0.1:{port}", host.user());
    let config = ["--dry-run", "--config", "/dev/null"];
    match column {
        "ssh web-1" => user.run(&["ssh", "--server", "web-1", "--", "true"]),
        "ssh db-1" => user.run(&["ssh", "--server", "db-1", "--", "true"]),
        "ssh web-2" => by_jump_host(user, &["ssh", "--server", "web-2", "--", "true"]),
        "ssh -l root web-1" => user.run(&["ssh", "-l", "root", "--server", "web-1", "--", "true"]),
        "ssh ADDRESS" => user.run(&["ssh", &address, "--", "true"]),
        "proxy web-1" => user.messages(&["proxy", "web-1", &port]),
        "exec" => user.run(&["exec", "--", "true"]),
        "sync" => user.run(&[&["sync"], &config[..]].concat()),
        "prune" => user.run(&["prune", "--dry-run"]),
        // Its own ssh cannot log in, but that is after the gate.
        "trust-ca" => user.run(&["trust-ca", "web-1", "--dry-run"]),
        "token" => user.run(&["token"]),
        "list" => user.run(&["list"]),
        "rbac grant" => user.run(&["rbac", "grant", "matrix-target", "exec"]),
        _ => panic!("no command for `{column}`"),
    }
}

/// Runs a command that tries no direct route to a host behind a jump host.
fn by_jump_host(user: &User<'_>, args: &[&str]) -> Said {
    let mut command = user.at.command(args);
    command.env("VCTL_SSH_DIRECT_FIRST", "false");
    command.output().unwrap().into()
}

#[test]
fn past_the_client_the_policies_of_vault_decide() {
    let Some(centre) = narrowed() else { return };
    assert_in_docs(WITHOUT_VCTL);
    sql(
        centre,
        "insert into vctl.rbac_groups (name) values ('past') on conflict do nothing",
    );
    let mut wrong = Vec::new();
    let rows = markdown_table::rows(WITHOUT_VCTL);
    for (column, (policy, _)) in rows[0].cells.iter().enumerate() {
        let name = format!("past-{policy}");
        let client = centre.person(&name, &[policy]).unwrap();
        let holder = Holder {
            centre,
            client,
            name: format!("userpass-{name}"),
        };
        for row in &rows {
            let found = holder.cell(&row.name);
            let expected = &row.cells[column].1;
            if found != expected {
                wrong.push(format!("{policy}: {}: `{found}`", row.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A user with one policy and a client of their own.
struct Holder<'a> {
    centre: &'a Centre,
    client: Client,
    name: String,
}

impl Holder<'_> {
    /// Returns the cell of a request: empty, `yes` or `owner`.
    fn cell(&self, request: &str) -> &'static str {
        match request {
            "Vault: sign a certificate for an account" if self.certificate(None).is_some() => "yes",
            "sshd: log in with that certificate" if self.logs_in() => "yes",
            _ if request.starts_with("Postgres: ") => self.of_statements(&self.statements(request)),
            _ => "",
        }
    }

    /// Returns the statements of a request. One that Postgres takes is enough.
    fn statements(&self, request: &str) -> Vec<String> {
        let own = &self.name;
        let access = |person: &str| {
            format!(
                "select vctl.open_access_v1('{person}', \
                 '{{\"hostname\": \"past\", \"login_user\": \"root\"}}')"
            )
        };
        let grant = |person: &str| {
            format!("select vctl.rbac_grants_v1('{person}', 'past', '{{exec}}', '{{\"\"}}', true)")
        };
        match request.trim_start_matches("Postgres: ") {
            "read the inventory" => vec!["select count(*) from vctl.servers".to_owned()],
            "read all groups, members and grants" => vec![
                "select count(*) from vctl.rbac_groups, vctl.rbac_members, vctl.rbac_grants"
                    .to_owned(),
            ],
            "read the own grants" => {
                vec!["select count(*) from vctl.caller_grants_v1()".to_owned()]
            }
            "write an access row in the own name" => vec![access(own)],
            "write an access row in the name of another" => vec![
                access("userpass-another"),
                "insert into vctl.access_log (vault_user, opened_at, hostname, login_user) \
                 values ('userpass-another', now(), 'past', 'root')"
                    .to_owned(),
            ],
            "change a grant, with a row in the record" => vec![grant(own)],
            "change a grant in the name of another" => vec![grant("userpass-another")],
            "change a grant without a row in the record" => vec![
                "insert into vctl.rbac_grants (group_name, command) values ('past', 'sync') \
                 on conflict do nothing"
                    .to_owned(),
            ],
            "add a row to the record in the name of another" => vec![
                "insert into vctl.rbac_change (changed_by, action, group_name, after) \
                 values ('userpass-another', 'grant', 'past', '{}')"
                    .to_owned(),
            ],
            "change or delete a row of the record" => vec![
                "update vctl.rbac_change set changed_by = 'x'".to_owned(),
                "delete from vctl.rbac_change".to_owned(),
                "truncate vctl.rbac_change".to_owned(),
            ],
            _ => panic!("no statement for `{request}`"),
        }
    }

    /// Returns whether Postgres takes one of the statements with any login that Vault gives to this user.
    fn of_statements(&self, statements: &[String]) -> &'static str {
        let taken = |purpose: &&str| {
            let Ok(login) = self.client.credential(&format!("vctl-{purpose}")) else {
                return false;
            };
            let postgres = &self.centre.postgres;
            let taken = statements
                .iter()
                .any(|sql| postgres.psql_as(login.login(), sql).is_ok());
            self.client.revoke(&login).unwrap();
            taken
        };
        let purposes = [
            "ro",
            "rw",
            "identity",
            "audit-ro",
            "audit-writer",
            "audit-ingest",
            "status",
            "pruner",
        ];
        match (purposes.iter().any(taken), taken(&"migrator")) {
            (true, _) => "yes",
            (false, true) => "owner",
            (false, false) => "",
        }
    }

    /// Returns a certificate of Vault for the account of the host.
    fn certificate(&self, key: Option<&str>) -> Option<String> {
        let host = self.centre.host.as_ref().unwrap();
        let known = host.public_key();
        let request = json!({
            "public_key": key.unwrap_or(&known),
            "valid_principals": host.user(),
        });
        let signed = self.client.post("ssh/sign/sre-core", &request).ok()?;
        Some(signed["data"]["signed_key"].as_str()?.to_owned())
    }

    fn logs_in(&self) -> bool {
        let host = self.centre.host.as_ref().unwrap();
        let home = tempfile::tempdir().unwrap();
        let key = home.path().join("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key)
            .status();
        assert!(made.unwrap().success());
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        let Some(certificate) = self.certificate(Some(&public)) else {
            return false;
        };
        fs::write(home.path().join("key-cert.pub"), certificate).unwrap();
        let known = format!("UserKnownHostsFile={}", host.known_hosts().display());
        let said = Command::new("ssh")
            .args(["-F", "none", "-o", "BatchMode=yes", "-o", &known])
            .args(["-o", "IdentitiesOnly=yes", "-p", &host.port().to_string()])
            .arg("-i")
            .arg(&key)
            .args([&format!("{}@127.0.0.1", host.user()), "true"])
            .output()
            .unwrap();
        assert!(said.status.success(), "{said:?}");
        true
    }
}

pub(super) fn assert_in_docs(table: &str) {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/rbac.md");
    let docs = fs::read_to_string(docs).unwrap();
    assert!(
        docs.contains(table.trim()),
        "docs/rbac.md must have this table:\n{table}"
    );
}
