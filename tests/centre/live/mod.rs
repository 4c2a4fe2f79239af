//! Live sessions: `vctl session --live` lists them, `vctl session end` ends one, `vctl revoke` ends those of a user.

mod end;
mod list;
mod revoke;
mod revoke_tokens;
mod sshd_list;

use std::fs;
use std::process::{Child, Command, Output};

use serde_json::Value;
use vctl_agent::probe::Maps;
use vctl_tests::centre::{Centre, Client, HostIdentity};
use vctl_tests::lab::{Certificate, Lab, Options, PATIENCE, Programs, eventually, process};

/// A host with the real probe, agent and sshd that ships to the centre.
struct LiveHost {
    centre: &'static Centre,
    identity: HostIdentity,
    lab: Lab,
    /// Ends sessions.
    responder: Client,
    responder_name: String,
    auditor: Client,
    _dir: tempfile::TempDir,
}

impl LiveHost {
    fn start(name: &str, options: Options) -> Option<Self> {
        let centre = Centre::shared()?;
        let identity = centre.enroll(name).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut options = options;
        options
            .agent
            .extend(centre.agent_keys(&identity, dir.path()).unwrap());
        let lab = Lab::or_skip(&options)?;
        let person = format!("responder-{name}");
        Some(Self {
            responder: centre.person(&person, &["vctl-session-end"]).unwrap(),
            responder_name: format!("userpass-{person}"),
            auditor: centre.with_policies(&["vctl-auditor"]).unwrap(),
            centre,
            identity,
            lab,
            _dir: dir,
        })
    }

    /// Logs in, and waits until the script has created the file `<key id>-inside` in the home of the account.
    fn log_in(&self, key_id: &str, serial: u64, script: &str) -> Login {
        let who = self.lab.certificate(key_id, serial).unwrap();
        self.log_in_with(&who, script)
    }

    /// Does the same as `log_in` with an existing certificate.
    fn log_in_with(&self, who: &Certificate, script: &str) -> Login {
        let key_id = &who.key_id;
        let client = self.lab.ssh_start(who, script).unwrap();
        let inside = self.lab.home().join(format!("{key_id}-inside"));
        assert!(
            eventually(PATIENCE, || Ok(inside.exists())).unwrap(),
            "{key_id}"
        );
        let sql = format!(
            "select s.id from vctl.audit_session s join vctl.audit_host h on h.id = s.host_id \
             where h.hostname = '{}' and s.key_id = '{key_id}' and s.execs > 0",
            self.identity.name
        );
        let mut id = String::new();
        let arrived = eventually(PATIENCE, || {
            id = self.centre.ask(&sql)?;
            Ok(!id.is_empty())
        });
        assert!(arrived.unwrap(), "the session of {key_id} does not arrive");
        Login { client, id }
    }

    /// Returns the pid that a script wrote into a file of the account's home.
    fn pid(&self, name: &str) -> u32 {
        let path = self.lab.home().join(name);
        let pid = || fs::read_to_string(&path).ok()?.trim().parse().ok();
        assert!(
            eventually(PATIENCE, || Ok(pid().is_some())).unwrap(),
            "{name}"
        );
        pid().unwrap()
    }

    fn vctl(&self, as_client: &Client, arguments: &[&str]) -> Output {
        self.vctl_command(as_client, arguments).output().unwrap()
    }

    fn vctl_command(&self, as_client: &Client, arguments: &[&str]) -> Command {
        vctl_command(self.centre, as_client, arguments)
    }

    /// Ends a session, and returns what the command printed.
    fn end(&self, id: &str, more: &[&str]) -> Output {
        let arguments = [&["session", "end", id, "--yes"], more].concat();
        self.vctl(&self.responder, &arguments)
    }

    /// Opens the probe's maps.
    fn marks(&self) -> Maps {
        Maps::pinned(&self.lab.pins()).unwrap()
    }

    fn live(&self) -> Vec<Value> {
        let host = &self.identity.name;
        let output = self.vctl(
            &self.auditor,
            &["session", "--live", "--host", host, "-o", "json"],
        );
        assert!(output.status.success(), "{output:?}");
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        document["sessions"].as_array().unwrap().clone()
    }
}

/// Returns `vctl` with the token of this client.
fn vctl_command(centre: &Centre, as_client: &Client, arguments: &[&str]) -> Command {
    let mut command = Command::new(Programs::find().unwrap().vctl);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LANG", "C.UTF-8")
        .envs(centre.environment())
        .env("VAULT_TOKEN", as_client.token().expose());
    command
}

/// Returns the words of a text that a terminal may have wrapped.
fn words(shown: &str) -> String {
    let words: Vec<_> = shown.split_whitespace().collect();
    words.join(" ")
}

/// A login that goes on, and its session.
struct Login {
    client: Child,
    id: String,
}

impl Login {
    /// Ends the client of a session that a spec leaves open.
    fn hang_up(mut self) {
        self.client.kill().unwrap();
        self.client.wait().unwrap();
    }
}

/// Returns false also for a zombie: it has ended, and only its parent has not read its status.
fn is_running(pid: u32) -> bool {
    process::state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
