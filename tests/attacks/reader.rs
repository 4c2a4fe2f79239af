//! An auditor at the centre, and certificates for users of the centre.

use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};
use vctl_tests::centre::{Centre, Client};
use vctl_tests::lab::Programs;

/// The view of an auditor.
pub(crate) struct Auditor {
    environment: Vec<(&'static str, String)>,
    token: String,
    programs: Programs,
}

impl Auditor {
    pub(crate) fn of(centre: &Centre) -> Self {
        let client = centre
            .with_policies(&["vctl-auditor", "vctl-user"])
            .unwrap();
        Self {
            environment: centre.environment(),
            token: client.token().expose().to_owned(),
            programs: Programs::find().unwrap(),
        }
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(&self.programs.vctl);
        command.args(args).env_clear().env("PATH", "/usr/bin:/bin");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env("VAULT_TOKEN", &self.token).output().unwrap()
    }

    pub(crate) fn shows(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.shows(args)).unwrap()
    }

    /// Returns one session as JSON.
    pub(crate) fn session(&self, id: &str) -> Value {
        self.json(&["session", id, "-o", "json"])["sessions"][0].take()
    }
}

/// Lets Vault sign a new key for the account `ubuntu`. Returns the certificate in the format of OpenSSH.
pub(crate) fn signed(person: &Client) -> String {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    keygen(&["-q", "-t", "ed25519", "-N", "", "-f", key.to_str().unwrap()]);
    let request = json!({
        "public_key": fs::read_to_string(key.with_extension("pub")).unwrap(),
        "valid_principals": "ubuntu", "cert_type": "user", "ttl": "10m",
    });
    let answer = person.post("ssh/sign/sre-core", &request).unwrap();
    let signed = answer["data"]["signed_key"].as_str().unwrap();
    signed.trim().to_owned()
}

pub(crate) fn keygen(args: &[&str]) {
    let output = Command::new("ssh-keygen").args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
}

/// Returns the line of a list that shows this session.
pub(crate) fn line(list: &str, id: &str) -> String {
    let found = list.lines().find(|line| line.contains(id));
    found
        .unwrap_or_else(|| panic!("{id} is not in\n{list}"))
        .to_owned()
}

/// Returns the words of a JSON array.
pub(crate) fn words(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap())
        .collect()
}
