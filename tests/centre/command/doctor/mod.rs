//! `vctl doctor`: each fault makes one probe fail, and has one exit code.

mod servers;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use vctl_tests::centre::{Centre, Client, DATABASE};
use vctl_tests::lab::eventually;

use crate::fixture::programs::{on_a_terminal, stderr, stdout, vctl};

/// All policies that an ordinary user may have.
const POLICIES: [&str; 3] = ["vctl-user", "vctl-ssh", "vctl-auditor"];

/// A user of `vctl doctor` in a separate home.
struct Patient<'a> {
    centre: &'a Centre,
    client: Client,
    home: TempDir,
}

impl<'a> Patient<'a> {
    fn new(centre: &'a Centre, client: Client) -> Self {
        let home = TempDir::new().unwrap();
        Self {
            centre,
            client,
            home,
        }
    }

    fn person(centre: &'a Centre, name: &str) -> Self {
        Self::new(centre, centre.person(name, &POLICIES).unwrap())
    }

    fn root(centre: &'a Centre) -> Self {
        Self::new(centre, centre.bao.admin().unwrap())
    }

    fn command(&self, changes: &[(&str, &str)], args: &[&str]) -> Command {
        let mut command = vctl(self.centre, &self.client, DATABASE, args);
        command
            .env("HOME", self.home.path())
            .current_dir(self.home.path())
            .envs(changes.iter().copied());
        command
    }

    /// Returns the exit code and the result of each probe.
    fn examined(&self, changes: &[(&str, &str)]) -> Examined {
        let output = self
            .command(changes, &["doctor", "-o", "json"])
            .output()
            .unwrap();
        Examined::of(&output)
    }

    /// Expects that only this probe fails, with this exit code. Returns the output.
    fn assert_fails(&self, changes: &[(&str, &str)], probe: &str, code: i32) -> String {
        let examined = self.examined(changes);
        assert_eq!(
            examined.with("fail"),
            [probe],
            "{changes:?}: {}",
            examined.page
        );
        assert_eq!(examined.code, Some(code), "{changes:?}: {}", examined.page);
        let failed = examined.probe(probe);
        assert_eq!(failed["exit_code"], code);
        assert!(failed["fix"].is_string(), "{failed}");
        failed["found"].as_str().unwrap().to_owned()
    }
}

struct Examined {
    code: Option<i32>,
    page: Value,
}

impl Examined {
    fn of(output: &Output) -> Self {
        let text = stdout(output);
        let page = serde_json::from_str(&text);
        let page = page.unwrap_or_else(|_| panic!("{text}{}", stderr(output)));
        let code = output.status.code();
        Self { code, page }
    }

    fn probes(&self) -> &[Value] {
        self.page["probes"].as_array().unwrap()
    }

    fn with(&self, result: &str) -> Vec<&str> {
        let probes = self.probes().iter();
        let of = probes.filter(|probe| probe["result"] == result);
        of.map(|probe| probe["probe"].as_str().unwrap()).collect()
    }

    fn probe(&self, name: &str) -> &Value {
        let mut probes = self.probes().iter();
        probes.find(|probe| probe["probe"] == name).unwrap()
    }
}

#[test]
fn every_check_passes_with_its_duration_on_a_healthy_setup() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let examined = Patient::person(centre, "healthy").examined(&[]);
    assert_eq!(examined.code, Some(0), "{}", examined.page);
    let expected = [
        "config",
        "vault dns",
        "vault tcp",
        "vault tls",
        "vault seal",
        "clock",
        "token",
        "capabilities",
        "ssh ca",
        "db dns",
        "db tcp",
        "db tls",
        "db login",
        "db clock",
        "schema",
        "ssh config",
    ];
    assert_eq!(examined.with("pass"), expected, "{}", examined.page);
    for probe in examined.probes() {
        assert!(probe["took_ms"].as_f64().is_some(), "{probe}");
    }
    let key = centre.ssh_authority().unwrap();
    assert!(
        examined.probe("ssh ca")["found"]
            .as_str()
            .unwrap()
            .contains(&fingerprint(&key))
    );
    let capabilities = examined.probe("capabilities")["found"].as_str().unwrap();
    let (may, may_not) = capabilities.split_once("; not for ").unwrap();
    assert!(may.contains("ssh") && may.contains("audit") && may_not.contains("migrate"));
    // The probe revoked its own login.
    assert!(
        eventually(Duration::from_secs(10), || Ok(
            logins_of(centre, "healthy") == "0"
        ))
        .unwrap()
    );
}

#[test]
fn a_wrong_setting_is_named_by_one_probe() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let patient = Patient::person(centre, "misled");
    let stranger = centre.pki.stranger().to_str().unwrap();
    for (key, value, probe, code) in [
        ("VCTL_DB_PORT", "none", "config", 78),
        ("VCTL_VAULT_ADDR", "http://vault.example", "config", 78),
        (
            "VCTL_VAULT_ADDR",
            "https://nowhere.invalid",
            "vault dns",
            69,
        ),
        ("VCTL_VAULT_ADDR", "https://127.0.0.1:1", "vault tcp", 69),
        ("VCTL_VAULT_CA_CERT", stranger, "vault tls", 69),
        ("VCTL_VAULT_CA_CERT", "/nowhere", "vault tls", 78),
        ("VAULT_TOKEN", "hvs.nobody", "token", 77),
        ("VAULT_TOKEN", "", "token", 77),
        ("VCTL_DB_ROLE_RO", "nowhere", "capabilities", 78),
        ("VCTL_DB_ROLE_AUDIT_RO", "nowhere", "capabilities", 78),
        ("VCTL_CA_ROLE", "nowhere", "ssh ca", 78),
        ("VCTL_SSH_MOUNT", "nowhere", "ssh ca", 78),
        ("VCTL_DB_HOST", "nowhere.invalid", "db dns", 69),
        ("VCTL_DB_PORT", "1", "db tcp", 69),
        ("VCTL_DB_CA_CERT", stranger, "db tls", 69),
        ("VCTL_DB_SERVERNAME", "other.example", "db tls", 69),
        ("VCTL_DB_NAME", "nowhere", "db login", 78),
    ] {
        patient.assert_fails(&[(key, value)], probe, code);
    }
}

#[test]
fn checks_need_no_rights_of_an_administrator() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let root = Patient::root(centre);
    root.assert_fails(&[("VCTL_CA_ROLE", "nowhere")], "ssh ca", 78);
    root.assert_fails(&[("VCTL_DB_ROLE_RO", "nowhere")], "db login", 78);
}

#[test]
fn a_missing_policy_is_named() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let nobody = Patient::new(centre, centre.person("nobody", &["default"]).unwrap());
    let examined = nobody.examined(&[]);
    assert_eq!(
        (examined.with("fail"), examined.code),
        (vec!["capabilities"], Some(77))
    );
    assert!(
        examined.probe("capabilities")["fix"]
            .as_str()
            .unwrap()
            .contains("`vctl-user`")
    );
    // Not every user logs in to hosts, so this is not a fault.
    let auditor = centre.person("doctor-auditor", &["vctl-user", "vctl-auditor"]);
    let examined = Patient::new(centre, auditor.unwrap()).examined(&[]);
    assert_eq!(
        (examined.with("warn"), examined.code),
        (vec!["ssh ca"], Some(0))
    );
    assert!(
        examined.probe("ssh ca")["fix"]
            .as_str()
            .unwrap()
            .contains("`vctl-ssh`")
    );
}

#[test]
fn a_revoked_cached_token_is_not_used() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let patient = Patient::person(centre, "revoked");
    let token = patient.client.token().expose().to_owned();
    // `vctl login` stored this token. By the local clock, the token is valid for an hour.
    let mut login = patient.command(&[("VAULT_TOKEN", "")], &["login", "--token-stdin"]);
    let mut login = login.stdin(Stdio::piped()).spawn().unwrap();
    login
        .stdin
        .take()
        .unwrap()
        .write_all(token.as_bytes())
        .unwrap();
    assert!(login.wait().unwrap().success());
    let kept = [("VAULT_TOKEN", "")];
    assert_eq!(patient.examined(&kept).code, Some(0));
    patient
        .client
        .post("auth/token/revoke-self", &json!({}))
        .unwrap();
    let found = patient.assert_fails(&kept, "token", 77);
    assert!(found.contains("revoked"), "{found}");
}

#[test]
fn a_machine_where_a_person_should_be_is_warned_of() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let registrar = centre.person("doctor-registrar", &["vctl-user"]).unwrap();
    let path = "auth/approle/role/vctl-user";
    let role_id = registrar.get(&format!("{path}/role-id")).unwrap();
    let secret_id = registrar
        .post(&format!("{path}/secret-id"), &json!({}))
        .unwrap();
    let ids = json!({
        "role_id": role_id["data"]["role_id"],
        "secret_id": secret_id["data"]["secret_id"],
    });
    let made = centre
        .bao
        .anonymous()
        .unwrap()
        .post("auth/approle/login", &ids)
        .unwrap();
    let token = made["auth"]["client_token"].as_str().unwrap();
    let patient = Patient::root(centre);
    let examined = patient.examined(&[("VAULT_TOKEN", token)]);
    assert_eq!(
        examined.with("warn"),
        ["token", "ssh ca"],
        "{}",
        examined.page
    );
    let job = [("VAULT_TOKEN", token), ("VCTL_AUTH_METHOD", "approle")];
    assert_eq!(patient.examined(&job).with("warn"), ["ssh ca"]);
    // A job logs in without a user, as its commands would. vctl does not do this for a user on a terminal.
    let ids = [
        ("VAULT_TOKEN", ""),
        ("VCTL_ROLE_ID", ids["role_id"].as_str().unwrap()),
        ("VCTL_SECRET_ID", ids["secret_id"].as_str().unwrap()),
    ];
    let other = Patient::root(centre);
    let doctor = other.command(&ids, &["doctor"]);
    let (page, status) = on_a_terminal(doctor, 80);
    assert_eq!(status.code(), Some(77), "{page}");
    assert!(
        page.contains("not logged in") && page.contains("`token` fails"),
        "{page}"
    );
    assert_eq!(patient.examined(&ids).code, Some(0));
}

fn logins_of(centre: &Centre, person: &str) -> String {
    let sql = format!("select count(*) from pg_roles where rolname like '%userpass-{person}%'");
    centre.postgres.psql(DATABASE, &sql).unwrap()
}

fn fingerprint(key: &str) -> String {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("key.pub");
    std::fs::write(&file, key).unwrap();
    let output = Command::new("ssh-keygen")
        .arg("-lf")
        .arg(&file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split(' ').nth(1).unwrap().to_owned()
}
