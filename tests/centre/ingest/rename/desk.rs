//! What the specs of renamed hosts share: commands of an administrator, and the programs of a host.

use std::process::{Command, Output};

use serde_json::{Value, json};
use vctl_tests::centre::{Centre, HostIdentity, Secret};
use vctl_tests::lab::{Programs, skip};

/// A central store, and the programs of an administrator and of a host.
pub(crate) struct Desk {
    pub(super) centre: &'static Centre,
    programs: Programs,
}

impl Desk {
    pub(crate) fn open() -> Option<Self> {
        match Programs::find() {
            Ok(programs) => Some(Self {
                centre: Centre::shared()?,
                programs,
            }),
            Err(error) => {
                skip(&format!("{error:#}"));
                None
            }
        }
    }

    pub(super) fn vctl(&self, policy: &str, args: &[&str]) -> Output {
        let client = self.centre.with_policies(&[policy]).unwrap();
        Command::new(&self.programs.vctl)
            .env_clear()
            .envs(self.centre.environment())
            .env("VAULT_TOKEN", client.token().expose())
            .args(args)
            .output()
            .unwrap()
    }

    pub(super) fn host(&self, args: &[&str]) -> Output {
        self.vctl("vctl-enroll", &[&["host"], args].concat())
    }

    pub(super) fn done(&self, args: &[&str]) -> String {
        succeeded(&self.host(args))
    }

    pub(super) fn refused(&self, args: &[&str], code: i32, parts: &[&str]) {
        let output = self.host(args);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        for part in parts {
            assert!(text.contains(part), "{args:?}: {part}: {text}");
        }
    }

    pub(super) fn ask(&self, sql: &str) -> String {
        self.centre.ask(sql).unwrap()
    }

    pub(crate) fn enrol(&self, name: &str) -> HostIdentity {
        self.credentials(name, &["enroll", name, "--create", "--ip", "10.0.0.7"])
    }

    pub(crate) fn rename(&self, old: &str, new: &str) -> HostIdentity {
        self.credentials(new, &["rename", old, new])
    }

    /// Runs a command that creates credentials, and returns them as the agent has them.
    pub(super) fn credentials(&self, name: &str, args: &[&str]) -> HostIdentity {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("host.json");
        self.done(&[args, &["--out", file.to_str().unwrap()]].concat());
        let written: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let text = |key: &str| written[key].as_str().unwrap();
        assert_eq!(text("host"), name);
        let wrapped = Secret::new(text("wrapped_secret_id"));
        let client = self.centre.bao.anonymous().unwrap().with_token(wrapped);
        let answer = client.post("sys/wrapping/unwrap", &json!({})).unwrap();
        HostIdentity {
            name: name.to_owned(),
            approle: text("approle").to_owned(),
            role_id: Secret::new(text("role_id")),
            secret_id: Secret::new(answer["data"]["secret_id"].as_str().unwrap()),
        }
    }

    /// Sends a status report with these credentials, and returns the host that Postgres stored it for.
    pub(super) fn reports_as(&self, identity: &HostIdentity, version: &str) -> String {
        let client = self.centre.as_host(identity).unwrap();
        let login = client.credential(&identity.role("status")).unwrap();
        let report = format!("select vctl.status_v1('{{\"agent_version\": \"{version}\"}}')");
        let postgres = &self.centre.postgres;
        postgres.psql_as(login.login(), &report).unwrap();
        self.ask(&format!(
            "select hostname from vctl.server_status where agent_version = '{version}'"
        ))
    }

    pub(super) fn id(&self, name: &str) -> String {
        self.ask(&format!(
            "select id from vctl.audit_host where hostname = '{name}'"
        ))
    }

    pub(super) fn sessions(&self, name: &str) -> Vec<String> {
        let args = ["session", "--host", name, "-o", "name"];
        let output = self.vctl("vctl-auditor", &args);
        succeeded(&output);
        let text = String::from_utf8(output.stdout).unwrap();
        let mut ids: Vec<String> = text.lines().map(str::to_owned).collect();
        ids.sort();
        ids
    }
}

pub(super) fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8(both).unwrap()
}

pub(super) fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    said(output)
}
