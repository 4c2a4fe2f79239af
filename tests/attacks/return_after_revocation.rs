//! A revoked host tries to come back with its earlier credentials.

use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use vctl_tests::centre::{Centre, Client, Credential, DATABASE, HostIdentity, Secret};
use vctl_tests::lab::{PATIENCE, Programs, eventually, skip};

fn centre() -> Option<(&'static Centre, Programs)> {
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
    let client = centre.with_policies(&[policy]).unwrap();
    Command::new(&programs.vctl)
        .env_clear()
        .envs(centre.environment())
        .env("VAULT_TOKEN", client.token().expose())
        .arg("host")
        .args(arguments)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8(both).unwrap()
}

fn revoke(centre: &Centre, programs: &Programs, name: &str) -> String {
    let output = host(centre, programs, "vctl-enroll", &["revoke", name]);
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

/// Enrolls a host with `vctl`, and returns the credentials that its agent has after it unwrapped the secret id.
fn enroll(centre: &Centre, programs: &Programs, name: &str) -> HostIdentity {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("host.json");
    let arguments = ["enroll", name, "--create", "--ip", "10.0.0.7", "--out"];
    let arguments = [&arguments[..], &[file.to_str().unwrap()]].concat();
    let output = host(centre, programs, "vctl-enroll", &arguments);
    assert!(output.status.success(), "{}", said(&output));
    let written: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let text = |key: &str| Secret::new(written[key].as_str().unwrap());
    let mut identity = HostIdentity {
        name: name.to_owned(),
        approle: String::new(),
        role_id: text("role_id"),
        secret_id: opened(centre, &text("wrapped_secret_id")),
    };
    let client = centre.as_host(&identity).unwrap();
    let itself = client.get("auth/token/lookup-self").unwrap();
    let approle = itself["data"]["meta"]["role_name"].as_str().unwrap();
    approle.clone_into(&mut identity.approle);
    identity
}

fn opened(centre: &Centre, wrapped: &Secret) -> Secret {
    let client = centre.bao.anonymous().unwrap().with_token(wrapped.clone());
    let answer = client.post("sys/wrapping/unwrap", &json!({})).unwrap();
    Secret::new(answer["data"]["secret_id"].as_str().unwrap())
}

/// Everything that a thief can take from an enrolled host.
struct Loot {
    host: HostIdentity,
    token: Client,
    /// A secret id that the token created, as the agent creates its next one.
    made: Secret,
    /// A secret id that was created but not unwrapped before the revocation.
    wrapped: Secret,
    login: Credential,
    connection: Child,
}

impl Loot {
    fn of(centre: &Centre, host: HostIdentity) -> Self {
        let token = centre.as_host(&host).unwrap();
        let path = format!("auth/approle/role/{}/secret-id", host.approle);
        let made = token.post(&path, &json!({})).unwrap();
        let login = token.credential(&host.role("audit-ingest")).unwrap();
        let ca = centre.pki.ca();
        let connection = centre
            .postgres
            .psql_command(login.login(), "verify-full", ca)
            .args(["-c", "select pg_sleep(600)"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let connected = format!(
            "select count(*) from pg_stat_activity where usename = '{}'",
            login.username
        );
        let connected = eventually(PATIENCE, || {
            Ok(centre.postgres.psql(DATABASE, &connected)? == "1")
        });
        assert!(connected.unwrap());
        Self {
            made: Secret::new(made["data"]["secret_id"].as_str().unwrap()),
            wrapped: centre.bao.admin().unwrap().wrapped(&path).unwrap(),
            host,
            token,
            login,
            connection,
        }
    }

    /// Asserts that none of these credentials works, also after the next enrollment with the same name.
    fn assert_useless(mut self, centre: &Centre, next: Option<&HostIdentity>) {
        let ended = eventually(PATIENCE, || Ok(self.connection.try_wait()?.is_some()));
        assert!(ended.unwrap(), "the connection of the host is still open");
        let login = centre.postgres.psql_as(self.login.login(), "select 1");
        assert!(login.is_err(), "the database login of the host still works");
        let unopened = opened(centre, &self.wrapped);
        let role_ids = [Some(&self.host.role_id), next.map(|next| &next.role_id)];
        for role_id in role_ids.into_iter().flatten() {
            for secret_id in [&self.host.secret_id, &self.made, &unopened] {
                let ids = json!({"role_id": role_id.expose(), "secret_id": secret_id.expose()});
                let anonymous = centre.bao.anonymous().unwrap();
                let reply = anonymous.call("POST", "auth/approle/login", Some(&ids));
                assert!(reply.unwrap().status >= 400, "an old secret id still works");
            }
        }
        let mut approles = vec![self.host.approle.clone(), self.host.name.clone()];
        approles.extend(next.map(|next| next.approle.clone()));
        for approle in approles {
            for name in [approle.clone(), approle.to_uppercase()] {
                for purpose in ["audit-ingest", "status"] {
                    let role = format!("vctl-{purpose}-{name}");
                    assert!(self.token.credential(&role).is_err(), "{role}");
                }
                let path = format!("auth/approle/role/{name}/secret-id");
                let reply = self.token.call("POST", &path, Some(&json!({}))).unwrap();
                assert!(
                    reply.status >= 400,
                    "the old token makes a secret id of {name}"
                );
            }
        }
        let again = self
            .token
            .call("POST", "auth/token/renew-self", Some(&json!({})));
        assert!(again.unwrap().status >= 400, "Vault renewed the old token");
    }
}

#[test]
fn a_revoked_credential_stays_useless_after_reenrolment() {
    let Some((centre, programs)) = centre() else {
        return;
    };
    let first = enroll(centre, &programs, "back-1");
    let loot = Loot::of(centre, first);
    let text = revoke(centre, &programs, "back-1");
    assert!(text.contains(&format!("`{}`", loot.host.approle)), "{text}");
    let next = enroll(centre, &programs, "back-1");
    loot.assert_useless(centre, Some(&next));
    let client = centre.as_host(&next).unwrap();
    let status = client.credential(&next.role("status")).unwrap();
    let report = "select vctl.status_v1('{\"agent_version\": \"back\"}')";
    centre.postgres.psql_as(status.login(), report).unwrap();
    let sql = "select agent_version from vctl.server_status where hostname = 'back-1'";
    assert_eq!(centre.postgres.psql(DATABASE, sql).unwrap(), "back");
}

#[test]
fn an_enrolment_without_generation_ends_for_good() {
    let Some((centre, programs)) = centre() else {
        return;
    };
    let loot = Loot::of(
        centre,
        centre.enroll_without_generation("back-old").unwrap(),
    );
    revoke(centre, &programs, "back-old");
    let next = enroll(centre, &programs, "back-old");
    assert_ne!(next.approle, "back-old");
    loot.assert_useless(centre, Some(&next));
}

#[test]
fn a_half_revoked_enrolment_is_never_made_whole() {
    let Some((centre, programs)) = centre() else {
        return;
    };
    let loot = Loot::of(centre, enroll(centre, &programs, "back-half"));
    let admin = centre.bao.admin().unwrap();
    let approle = format!("auth/approle/role/{}", loot.host.approle);
    admin.delete(&approle).unwrap();
    loot.token.credential(&loot.host.role("status")).unwrap();
    let next = enroll(centre, &programs, "back-half");
    loot.assert_useless(centre, Some(&next));
}

#[test]
fn revoking_a_host_leaves_hosts_of_longer_names() {
    let Some((centre, programs)) = centre() else {
        return;
    };
    let gone = enroll(centre, &programs, "back-2");
    // The last host has a name that looks like an enrollment of the first host.
    let stay = [
        enroll(centre, &programs, "back-2x"),
        enroll(centre, &programs, "back-2.example"),
        centre.enroll_without_generation("back-2.deadbeef").unwrap(),
    ];
    let logins = stay.each_ref().map(|host| {
        let client = centre.as_host(host).unwrap();
        client.credential(&host.role("status")).unwrap()
    });
    let loot = Loot::of(centre, gone);
    revoke(centre, &programs, "back-2");
    loot.assert_useless(centre, None);
    for (host, login) in stay.iter().zip(&logins) {
        centre.postgres.psql_as(login.login(), "select 1").unwrap();
        let client = centre.as_host(host).unwrap();
        client.credential(&host.role("audit-ingest")).unwrap();
    }
}

#[test]
fn a_revocation_names_the_parts_it_could_not_end() {
    let Some((centre, programs)) = centre() else {
        return;
    };
    let admin = centre.bao.admin().unwrap();
    let policy = admin.get("sys/policies/acl/vctl-enroll").unwrap();
    let policy = policy["data"]["policy"].as_str().unwrap();
    let lines = policy
        .lines()
        .filter(|line| !line.contains("revoke-prefix"));
    let less = json!({"policy": lines.collect::<Vec<_>>().join("\n")});
    let path = "sys/policies/acl/enroll-without-leases";
    admin.post(path, &less).unwrap();
    let loot = Loot::of(centre, enroll(centre, &programs, "back-3"));
    let output = host(
        centre,
        &programs,
        "enroll-without-leases",
        &["revoke", "back-3"],
    );
    assert!(!output.status.success(), "{}", said(&output));
    let text = said(&output);
    for purpose in ["audit-ingest", "status"] {
        let part = format!("logins of database role `{}`", loot.host.role(purpose));
        assert!(text.contains(&part), "{text}");
        assert!(loot.token.credential(&loot.host.role(purpose)).is_err());
    }
    revoke(centre, &programs, "back-3");
    loot.assert_useless(centre, None);
}

#[test]
fn a_name_of_63_bytes_keeps_its_own_login() {
    let Some((centre, programs)) = centre() else {
        return;
    };
    let names = ['a', 'b'].map(|end| format!("{}{end}", "long-host-".repeat(7).get(..62).unwrap()));
    let mut shown = Vec::new();
    for name in &names {
        assert_eq!(name.len(), 63);
        let loot = Loot::of(centre, enroll(centre, &programs, name));
        let login = &loot.login.username;
        assert!(login.len() <= 63, "{login}");
        let sql = format!("select hostname from vctl.db_login where login = '{login}'");
        assert_eq!(centre.postgres.psql(DATABASE, &sql).unwrap(), *name);
        let person = format!("select vctl.login_person('{}')", loot.host.approle);
        let proven = centre.postgres.psql_as(loot.login.login(), &person);
        assert!(
            proven.is_err(),
            "a login of a host counts as a login of a user"
        );
        let part = login.rsplit_once('/').unwrap().0;
        shown.push(part.to_owned());
        revoke(centre, &programs, name);
        let next = enroll(centre, &programs, name);
        loot.assert_useless(centre, Some(&next));
    }
    assert_ne!(shown[0], shown[1], "both hosts have one name in Postgres");
}

#[test]
fn enrolling_reaches_no_approle_of_jobs_in_any_case() {
    let Some((centre, programs)) = centre() else {
        return;
    };
    let admin = centre.bao.admin().unwrap();
    let before = admin.get("auth/approle/role/vctl-pruner").unwrap();
    let client = centre.with_policies(&["vctl-enroll"]).unwrap();
    for name in [
        "vctl-pruner",
        "VCTL-pruner",
        "Vctl-Pruner",
        "vCtL-user",
        "VCTL-ENROLL",
    ] {
        let approle = format!("auth/approle/role/{name}");
        for (path, body) in [
            (approle.clone(), json!({"token_policies": ["vctl-host"]})),
            (format!("{approle}/secret-id"), json!({})),
        ] {
            let status = client.call("POST", &path, Some(&body)).unwrap().status;
            assert_eq!(status, 403, "{path}");
            let asked = json!({"paths": [path]});
            let answer = client.post("sys/capabilities-self", &asked).unwrap();
            assert_eq!(answer["data"][&path], json!(["deny"]), "{path}");
        }
        let status = client.call("DELETE", &approle, None).unwrap().status;
        assert_eq!(status, 403, "{approle}");
        let arguments = ["enroll", name, "--create", "--ip", "10.0.0.8"];
        let output = host(centre, &programs, "vctl-enroll", &arguments);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    }
    let after = admin.get("auth/approle/role/vctl-pruner").unwrap();
    assert_eq!(after["data"], before["data"]);
}
