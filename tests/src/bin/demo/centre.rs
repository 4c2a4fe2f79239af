//! The second act: the same two people, whose certificates Vault signs, and whose host ships to Postgres.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use vctl_tests::centre::{self, Centre, Client};
use vctl_tests::lab::{Certificate, Lab, Options, eventually};

const HOST: &str = "demo-1";
const ARRIVES_WITHIN: Duration = Duration::from_secs(30);

/// A centre with one host, and somebody who may read what it records.
pub(crate) struct Middle {
    centre: Centre,
    auditor: Client,
    /// The host's role id and secret id.
    ids: tempfile::TempDir,
}

impl Middle {
    pub(crate) fn start() -> Result<Self> {
        if let Some(why) = centre::missing() {
            anyhow::bail!("this machine cannot run the demo's centre: {why}");
        }
        let centre = Centre::start(&centre::Options::default())?;
        let auditor = centre.person("carol", &["vctl-user", "vctl-auditor"])?;
        let ids = tempfile::tempdir()?;
        Ok(Self {
            centre,
            auditor,
            ids,
        })
    }

    /// Returns a lab whose agent ships here, and whose sshd trusts the CA in Vault.
    pub(crate) fn lab(&self) -> Result<Lab> {
        let host = self.centre.enroll(HOST)?;
        let lab = Lab::start(&Options {
            agent: self.centre.agent_keys(&host, self.ids.path())?,
            trusted: vec![self.centre.ssh_authority()?],
            ..Options::default()
        })?;
        let admin = self.centre.bao.admin()?;
        let mut role = admin.get("ssh/roles/sre-core")?["data"].take();
        role["allowed_users"] = json!(lab.user());
        admin.post("ssh/roles/sre-core", &role)?;
        Ok(lab)
    }

    /// Has Vault sign a certificate for that person, who asks to be let in as `vctl ssh` will: the row
    /// is there before the certificate is used.
    pub(crate) fn certificate(&self, lab: &Lab, name: &str) -> Result<Certificate> {
        let person = self.centre.person(name, &["vctl-user", "vctl-ssh"])?;
        let certificate = lab.certificate_by(name, |key| {
            let request = json!({"public_key": key, "valid_principals": lab.user()});
            let signed = person.post("ssh/sign/sre-core", &request)?;
            let text = signed["data"]["signed_key"].as_str();
            let serial = signed["data"]["serial_number"].as_str();
            let serial = u64::from_str_radix(serial.context("no serial")?, 16)?;
            Ok((text.context("no certificate")?.to_owned(), serial))
        })?;
        self.ask_to_be_let_in(&person, lab, name, &certificate)?;
        Ok(certificate)
    }

    fn ask_to_be_let_in(
        &self,
        person: &Client,
        lab: &Lab,
        name: &str,
        certificate: &Certificate,
    ) -> Result<()> {
        let authority = self.centre.ssh_authority()?;
        let access = json!({
            "hostname": HOST,
            "login_user": lab.user(),
            "target_addr": "127.0.0.1",
            "target_port": lab.port(),
            "ca_fingerprint": self.fingerprint(&authority)?,
            "cert_serial": certificate.serial.to_string(),
            "key_id": format!("userpass-{name}"),
            "source_ip": "127.0.0.1",
            "client_user": name,
        });
        let credential = person.credential("vctl-audit-writer")?;
        let postgres = &self.centre.postgres;
        let call = format!("vctl.open_access_v1('userpass-{name}', '{access}')");
        let id = postgres.psql_as(credential.login(), &format!("select {call}"))?;
        let end = json!({"result": "ok", "exit_code": 0});
        let call = format!("vctl.close_access_v1('userpass-{name}', {id}, '{end}')");
        postgres.psql_as(credential.login(), &format!("select {call}"))?;
        person.revoke(&credential).or_else(|_| {
            // Only the administrator may wait for the end of a lease.
            self.centre.bao.admin()?.revoke(&credential)
        })
    }

    fn fingerprint(&self, authority: &str) -> Result<String> {
        let key = authority.trim();
        let sql = format!("select fingerprint from vctl.ca_keys where public_key = '{key}'");
        self.centre.ask(&sql)
    }

    /// Returns `vctl` as the auditor runs it.
    pub(crate) fn vctl(&self, lab: &Lab, args: &[&str]) -> Command {
        let mut command = lab.vctl_command(args);
        command
            .envs(self.centre.environment())
            .env("VAULT_TOKEN", self.auditor.token().expose());
        command
    }

    /// Waits until the centre has the whole session of a certificate.
    pub(crate) fn await_whole(&self, lab: &Lab, serial: u64) -> Result<()> {
        let mut last = String::new();
        let came = eventually(ARRIVES_WITHIN, || {
            let serial = serial.to_string();
            let output = self.vctl(lab, &["session", &serial]).output()?;
            last = String::from_utf8_lossy(&output.stdout).into_owned();
            Ok(last.lines().any(|line| line.starts_with("complete: ")))
        })?;
        ensure!(came, "session {serial} is not whole at the centre: {last}");
        Ok(())
    }

    pub(crate) fn end(self) -> Vec<anyhow::Error> {
        self.centre.end()
    }
}
