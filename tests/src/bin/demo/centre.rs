//! The second act: alice and bob log in with `vctl`, on a host that ships to Postgres.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use vctl_tests::centre::{self, Centre, first_steps};
use vctl_tests::lab::{Lab, Options, Undo, eventually};

use crate::operator::{Operator, serial_of};
use crate::person::Person;

pub(crate) const HOST: &str = "demo-1";
/// Policies of the auditor: to read the records, end sessions, and revoke the access of users.
const AUDITOR: [&str; 4] = [
    "vctl-user",
    "vctl-auditor",
    "vctl-session-end",
    "vctl-revoke",
];
const ARRIVES_WITHIN: Duration = Duration::from_secs(30);

/// A centre with one host, and an auditor.
pub(crate) struct Middle {
    centre: Centre,
    auditor: Operator,
    /// Role id and secret id of the host.
    ids: tempfile::TempDir,
}

impl Middle {
    pub(crate) fn start() -> Result<Self> {
        if let Some(why) = centre::missing() {
            anyhow::bail!("this machine cannot run the demo's centre: {why}");
        }
        let centre = Centre::start(&centre::Options::default())?;
        let auditor = Operator::new(&centre, "carol", &AUDITOR)?;
        let ids = tempfile::tempdir()?;
        centre.journal().before(Undo::RemoveTree {
            path: ids.path().to_owned(),
        })?;
        Ok(Self {
            centre,
            auditor,
            ids,
        })
    }

    /// Returns a lab whose agent ships to this centre. Its sshd trusts the CA in Vault.
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
        self.centre
            .put_into_inventory(HOST, lab.port(), lab.user())?;
        self.auditor.log_in(&lab)?;
        Ok(lab)
    }

    /// Returns an operator that is logged in to Vault and may log in to hosts.
    pub(crate) fn operator(&self, lab: &Lab, name: &'static str) -> Result<Operator> {
        let operator = Operator::new(&self.centre, name, &["vctl-user", "vctl-ssh"])?;
        operator.knows(lab, HOST)?;
        operator.log_in(lab)?;
        Ok(operator)
    }

    /// Opens a session on the host with `vctl ssh`. The serial comes from the access log.
    pub(crate) fn enter(&self, lab: &Lab, operator: &Operator) -> Result<Person> {
        let ssh = operator.vctl(lab, &["ssh", "-q", "-tt", HOST]);
        let mut person = Person::enter(operator.name, ssh)?;
        person.serial = serial_of(&self.auditor, lab, operator.name, HOST)?;
        ensure!(
            !operator.has_a_key()?,
            "{} has a key on disk",
            operator.name
        );
        Ok(person)
    }

    /// Returns `vctl` with the environment of the auditor.
    pub(crate) fn vctl(&self, lab: &Lab, args: &[&str]) -> Command {
        self.auditor.vctl(lab, args)
    }

    /// Waits until the centre has all events of the session of a certificate.
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

    /// Makes the host show a certificate, and returns the command for a login by hand.
    pub(crate) fn by_hand(&self, lab: &Lab, operator: &Operator) -> Result<String> {
        let certificate = self.centre.host_certificate(HOST, &lab.public_key()?)?;
        lab.show_certificate(&certificate)?;
        let settings = self.centre.write_settings()?;
        let [settings, login, ssh] = first_steps(&settings, &operator.account, HOST);
        let (person, auditor) = (operator.name, self.auditor.name);
        let as_auditor = self.auditor.account.login_line();
        Ok(format!(
            "In another terminal, of any account, log in as {person}:\n\n  {settings}\n  {login}\n  {ssh}\n\n\
             and then, as {auditor}, read the records, and end what {person} does:\n\n  {as_auditor}\n  vctl audit\n  \
             vctl session\n  vctl session --live\n  vctl session end ID\n  vctl revoke {person} --dry-run"
        ))
    }

    pub(crate) fn end(self) -> Vec<anyhow::Error> {
        self.centre.end()
    }
}
