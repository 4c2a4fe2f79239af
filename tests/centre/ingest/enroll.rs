//! `vctl host enroll` and `vctl host revoke`, as the platform team runs them.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use serde_json::{Value, json};
use vctl_tests::centre::{Centre, Client, DATABASE, HostIdentity, Secret};
use vctl_tests::lab::{Programs, skip};

pub(super) fn centre() -> Option<(&'static Centre, Programs)> {
    match Programs::find() {
        Ok(programs) => Some((Centre::shared()?, programs)),
        Err(error) => {
            skip(&format!("{error:#}"));
            None
        }
    }
}

/// Runs `vctl host` with a token that has one policy.
fn host(centre: &Centre, programs: &Programs, policy: &str, arguments: &[&str]) -> Output {
    let admin = centre.bao.admin().unwrap();
    let policies = json!({"policies": [policy]});
    let made = admin.post("auth/token/create", &policies).unwrap();
    Command::new(&programs.vctl)
        .env_clear()
        .envs(centre.environment())
        .env(
            "VAULT_TOKEN",
            made["auth"]["client_token"].as_str().unwrap(),
        )
        .arg("host")
        .args(arguments)
        .output()
        .unwrap()
}

pub(super) fn enroll(centre: &Centre, programs: &Programs, arguments: &[&str]) -> Output {
    host(centre, programs, "vctl-enroll", arguments)
}

pub(super) fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8(both).unwrap()
}

pub(super) fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    said(output)
}

/// Enrolls a new host, and unwraps its credential as its agent does.
fn enrolled(centre: &Centre, programs: &Programs, name: &str) -> HostIdentity {
    let output = enroll(
        centre,
        programs,
        &["enroll", name, "--create", "--ip", "10.0.0.7"],
    );
    let text = succeeded(&output);
    let of = |file: &str| {
        let line = text.lines().find(|line| line.ends_with(file)).unwrap();
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some("echo"), "{line}");
        Secret::new(words.next().unwrap())
    };
    let mut identity = HostIdentity {
        name: name.to_owned(),
        approle: String::new(),
        role_id: of("/etc/vctl/role_id"),
        secret_id: unwrapped(centre, of("/etc/vctl/secret_id")).unwrap(),
    };
    let client = centre.as_host(&identity).unwrap();
    let itself = client.get("auth/token/lookup-self").unwrap();
    itself["data"]["meta"]["role_name"]
        .as_str()
        .unwrap()
        .clone_into(&mut identity.approle);
    identity
}

/// Returns whether the inventory marks the host as enrolled: `t` or `f`.
fn noted(centre: &Centre, name: &str) -> String {
    let sql = format!("select enrolled_at is not null from vctl.servers where hostname = '{name}'");
    centre.postgres.psql(DATABASE, &sql).unwrap()
}

fn unwrapped(centre: &Centre, token: Secret) -> Option<Secret> {
    let client = centre.bao.anonymous().unwrap().with_token(token);
    let reply = client
        .call("POST", "sys/wrapping/unwrap", Some(&json!({})))
        .unwrap();
    reply.body["data"]["secret_id"].as_str().map(Secret::new)
}

/// Returns how many AppRoles, database roles, logins and rows of a host exist.
fn left(centre: &Centre, name: &str) -> (usize, String) {
    let admin = centre.bao.admin().unwrap();
    let roles: usize = ["auth/approle/role", "database/roles"]
        .map(|path| {
            let listed = admin.get(&format!("{path}?list=true")).unwrap();
            let keys = listed["data"]["keys"].as_array().unwrap().clone();
            let of_host = |key: &Value| {
                let key = key.as_str().unwrap();
                let key = key.strip_prefix("vctl-audit-ingest-").unwrap_or(key);
                let key = key.strip_prefix("vctl-status-").unwrap_or(key);
                key == name || key.starts_with(&format!("{name}."))
            };
            keys.iter().filter(|key| of_host(key)).count()
        })
        .iter()
        .sum();
    let logins = format!(
        "select count(*), (select count(*) from vctl.db_login where hostname = '{name}') \
         from pg_roles where rolname ~ '/{name}([.][0-9a-f]{{8}})?/'"
    );
    (roles, centre.postgres.psql(DATABASE, &logins).unwrap())
}

#[test]
fn an_enrolled_host_is_itself() {
    let Some((centre, programs)) = centre() else {
        return;
    };
    let identity = enrolled(centre, &programs, "enrolled-1");
    let client = centre.as_host(&identity).unwrap();
    let itself = client.get("auth/token/lookup-self").unwrap();
    assert_eq!(itself["data"]["policies"], json!(["default", "vctl-host"]));
    let status = client.credential(&identity.role("status")).unwrap();
    assert!(
        status.username.starts_with("status/enrolled-1."),
        "{}",
        status.username
    );
    let report = "select vctl.status_v1('{\"agent_version\": \"spec\"}')";
    centre.postgres.psql_as(status.login(), report).unwrap();
    let sql = "select s.ip, t.agent_version from vctl.servers s join vctl.server_status t using (hostname) \
               where hostname = 'enrolled-1'";
    assert_eq!(
        centre.postgres.psql(DATABASE, sql).unwrap(),
        "10.0.0.7|spec"
    );
    client.credential(&identity.role("audit-ingest")).unwrap();
    assert_eq!(noted(centre, "enrolled-1"), "t");
}

#[test]
fn a_host_that_is_not_in_the_inventory_is_refused() {
    let Some((centre, programs)) = centre() else {
        return;
    };
    let output = enroll(centre, &programs, &["enroll", "stranger"]);
    assert_eq!(output.status.code(), Some(66), "{}", said(&output));
    let text = said(&output);
    assert!(
        text.contains("`stranger` is not in the inventory"),
        "{text}"
    );
    assert!(
        text.contains("hint: vctl host enroll stranger --create --ip ADDR"),
        "{text}"
    );
    assert_eq!(left(centre, "stranger"), (0, "0|0".to_owned()));
}

#[test]
fn an_invalid_or_reserved_name_is_refused() {
    let Some((centre, programs)) = centre() else {
        return;
    };
    for name in [
        "Web",
        "VCTL-pruner",
        "Vctl-user",
        "web'1",
        "a;b",
        "a b",
        "../vctl-user",
        "vctl-user",
        "vctl-enroll",
    ] {
        let arguments = ["enroll", name, "--create", "--ip", "10.0.0.8"];
        let output = enroll(centre, &programs, &arguments);
        assert_eq!(output.status.code(), Some(2), "{name}: {}", said(&output));
        let output = enroll(centre, &programs, &["revoke", name]);
        assert_eq!(output.status.code(), Some(2), "{name}: {}", said(&output));
    }
    let admin = centre.bao.admin().unwrap();
    let role = admin.get("auth/approle/role/vctl-user").unwrap();
    assert_eq!(role["data"]["token_policies"], json!(["vctl-user"]));
}

#[test]
fn revoking_a_host_ends_only_that_host() {
    let Some((centre, programs)) = centre() else {
        return;
    };
    let gone = enrolled(centre, &programs, "revoked-1");
    let stays = enrolled(centre, &programs, "revoked-10");
    let credentials = |identity: &HostIdentity| -> (Client, Vec<_>) {
        let client = centre.as_host(identity).unwrap();
        let purposes = ["audit-ingest", "status"];
        let made = purposes
            .iter()
            .map(|purpose| client.credential(&identity.role(purpose)).unwrap());
        let made = made.collect();
        (client, made)
    };
    let (client, _) = credentials(&gone);
    let (_, of_neighbour) = credentials(&stays);
    assert_eq!(left(centre, "revoked-1"), (3, "2|2".to_owned()));
    let text = succeeded(&enroll(centre, &programs, &["revoke", "revoked-1"]));
    assert!(text.contains("`revoked-1` is revoked"), "{text}");
    assert_eq!(left(centre, "revoked-1"), (0, "0|0".to_owned()));
    // The host's token lives on for a while, but cannot get a credential.
    assert!(client.credential(&gone.role("status")).is_err());
    assert!(centre.as_host(&gone).is_err());
    assert_eq!(left(centre, "revoked-10"), (3, "2|2".to_owned()));
    for credential in of_neighbour {
        centre
            .postgres
            .psql_as(credential.login(), "select 1")
            .unwrap();
    }
    // The host stays in the inventory, but the centre no longer expects reports from it.
    assert_eq!(noted(centre, "revoked-1"), "f");
    assert_eq!(noted(centre, "revoked-10"), "t");
    let again = enroll(centre, &programs, &["revoke", "revoked-1"]);
    assert_eq!(again.status.code(), Some(66), "{}", said(&again));
}

#[test]
fn a_wrapped_secret_id_can_be_unwrapped_once() {
    let Some((centre, programs)) = centre() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("host.json");
    let path = file.to_str().unwrap();
    let arguments = [
        "enroll", "opened", "--create", "--ip", "10.0.0.9", "--out", path,
    ];
    let arguments = [&arguments[..], &["--wrap-ttl", "5m"]].concat();
    let output = enroll(centre, &programs, &arguments);
    let text = succeeded(&output);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let written: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(written["wrap_ttl_s"], 300);
    let token = Secret::new(written["wrapped_secret_id"].as_str().unwrap());
    assert!(!text.contains(token.expose()), "{text}");
    assert!(unwrapped(centre, token.clone()).is_some());
    assert!(unwrapped(centre, token).is_none());
    // vctl does not overwrite an existing file, and does not create a credential in this case.
    let again = enroll(centre, &programs, &["enroll", "opened", "--out", path]);
    assert!(said(&again).contains("cannot write"), "{}", said(&again));
}

#[test]
fn enrolling_again_keeps_what_the_host_has() {
    let Some((centre, programs)) = centre() else {
        return;
    };
    let first = enrolled(centre, &programs, "again");
    let second = enrolled(centre, &programs, "again");
    assert!(first.role_id == second.role_id);
    centre.as_host(&first).unwrap();
    centre.as_host(&second).unwrap();
    let text = succeeded(&enroll(centre, &programs, &["enroll", "again"]));
    assert!(text.contains("is already enrolled"), "{text}");
}

#[test]
fn without_the_policy_nothing_is_made() {
    let Some((centre, programs)) = centre() else {
        return;
    };
    let sql = "insert into vctl.servers (hostname, ip) values ('forbidden', '10.0.0.1')";
    centre.postgres.psql(DATABASE, sql).unwrap();
    for policy in ["vctl-admin", "vctl-user"] {
        let output = host(centre, &programs, policy, &["enroll", "forbidden"]);
        assert_eq!(output.status.code(), Some(77), "{}", said(&output));
        assert_eq!(left(centre, "forbidden"), (0, "0|0".to_owned()));
        let output = host(centre, &programs, policy, &["revoke", "forbidden"]);
        assert_eq!(output.status.code(), Some(77), "{}", said(&output));
    }
}

#[test]
fn the_enroller_creates_only_host_approles() {
    let Some((centre, _)) = centre() else { return };
    let client = centre.with_policies(&["vctl-enroll"]).unwrap();
    let refused = |path: &str, body: Value| {
        let status = client.call("POST", path, Some(&body)).unwrap().status;
        assert_eq!(status, 403, "{path}: {body}");
    };
    for policies in [
        json!(["vctl-admin"]),
        json!(["vctl-host", "root"]),
        json!("vctl-host,vctl-admin"),
        json!([]),
    ] {
        refused(
            "auth/approle/role/other",
            json!({"token_policies": policies}),
        );
    }
    refused(
        "auth/approle/role/other",
        json!({"policies": ["vctl-admin"]}),
    );
    refused(
        "auth/approle/role/vctl-user",
        json!({"token_policies": ["vctl-host"]}),
    );
    let unwrapped = centre.enroll("unwrapped").unwrap();
    refused(
        &format!("auth/approle/role/{}/secret-id", unwrapped.approle),
        json!({}),
    );
    refused("auth/approle/role/vctl-pruner/secret-id", json!({}));
}

#[test]
fn an_enrolled_host_is_as_vctl_add_makes_it() {
    let Some((centre, programs)) = centre() else {
        return;
    };
    let admin = centre.bao.admin().unwrap();
    let policies = json!({"policies": ["vctl-enroll", "vctl-admin"]});
    let made = admin.post("auth/token/create", &policies).unwrap();
    let token = made["auth"]["client_token"].as_str().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let agent_config = directory.path().join("agent.yaml");
    let agent_config = agent_config.to_str().unwrap();
    for args in [
        vec!["host", "enroll", "alike-1", "--create", "--ip", "10.77.0.1"],
        vec![
            "host",
            "enroll",
            "alike-2",
            "--create",
            "--ip",
            "10.77.0.2",
            "--agent-config",
            agent_config,
        ],
        vec!["add", "alike-3", "--ip", "10.77.0.3"],
        vec![
            "host",
            "enroll",
            "alike-4",
            "--create",
            "--ip",
            "10.77.0.4",
            "--dc",
            "x",
            "--user",
            "y",
        ],
    ] {
        let output = Command::new(&programs.vctl)
            .env_clear()
            .envs(centre.environment())
            .env("HOME", directory.path())
            .env("VAULT_TOKEN", token)
            .env("VCTL_SSH_DEFAULT_USER", "debian")
            .env("VCTL_CA_ROLE", "special")
            .env("VCTL_DC_RULES", "[{name: busan, prefixes: ['10.77.']}]")
            .args(&args)
            .output()
            .unwrap();
        let text = succeeded(&output);
        let prints = args[1] == "enroll" && !args.contains(&"--agent-config");
        assert_eq!(text.contains("\nhost: alike-"), prints, "{text}");
    }
    let rows = "select string_agg(concat_ws(' ', dc, ssh_user, ca_role), '|' order by hostname)
                from vctl.servers where hostname like 'alike-%'";
    let rows = centre.postgres.psql(DATABASE, rows).unwrap();
    let same = "busan debian special";
    assert_eq!(rows, format!("{same}|{same}|{same}|x y special"));
    // The agent accepts the text without a change.
    let text = std::fs::read_to_string(agent_config).unwrap();
    assert!(
        text.contains("host: alike-2\n") && text.contains("db_host: \"127.0.0.1\"\n"),
        "{text}"
    );
    let output = Command::new(&programs.agent)
        .args(["node", "--once", "--config", agent_config])
        .output()
        .unwrap();
    let text = said(&output);
    assert!(!text.contains("agent.yaml:"), "{text}");
}
