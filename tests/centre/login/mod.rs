//! The user's own token: how vctl gets, stores, renews and revokes it, and how commands use it.

mod before_asking;
mod display_names;
mod no_terminal;
mod oidc;
mod whoami;
mod agent;
mod db_logins;
mod exec;
mod life;
mod logout;
mod methods;
mod remembered;
mod secret_destination;

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use vctl_tests::centre::{Centre, Secret};
use vctl_tests::lab::Programs;
use vctl_tests::terminal::Terminal;

/// A user's machine: a home, a working directory, and the address of a centre in the environment.
pub(crate) struct Workstation<'a> {
    pub(crate) centre: &'a Centre,
    home: tempfile::TempDir,
}

impl<'a> Workstation<'a> {
    pub(crate) fn new(centre: &'a Centre) -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("work")).unwrap();
        Self { centre, home }
    }

    pub(crate) fn home(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.program(Programs::find().unwrap().vctl, args)
    }

    /// Returns any program as a command of the user at this machine.
    pub(crate) fn program(&self, program: impl AsRef<OsStr>, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TERM", "xterm")
            .env("HOME", self.home.path())
            .envs(self.centre.environment())
            .current_dir(self.home("work"))
            .stdin(Stdio::null());
        command
    }

    /// Runs vctl without a terminal.
    pub(crate) fn run(&self, args: &[&str]) -> Said {
        self.command(args).output().unwrap().into()
    }

    /// Runs vctl with this text on standard input.
    pub(crate) fn given(&self, args: &[&str], input: &str) -> Said {
        give(self.command(args), input)
    }

    /// Runs vctl on a terminal.
    pub(crate) fn before_a_person(&self, args: &[&str]) -> Terminal {
        Terminal::start(self.command(args), 100).unwrap()
    }

    pub(crate) fn token(&self) -> String {
        let said = self.run(&["token"]);
        assert_eq!(said.code, 0, "{said:?}");
        said.stdout.trim_end().to_owned()
    }

    /// Returns the data that vctl stores about the token. Does not ask Vault.
    pub(crate) fn known(&self) -> Value {
        serde_json::from_str(&self.run(&["token", "-o", "json"]).stdout).unwrap()
    }

    /// Returns the server's answer about a token, or null if the token is not valid.
    pub(crate) fn asked_of(&self, token: &str) -> Value {
        let anonymous = self.centre.bao.anonymous().unwrap();
        let client = anonymous.with_token(Secret::new(token));
        client
            .get("auth/token/lookup-self")
            .map_or(Value::Null, |mut answer| answer["data"].take())
    }
}

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Creates a user with a password. The user's tokens have these lifetimes in seconds. Returns the password.
pub(crate) fn person(centre: &Centre, name: &str, ttl_s: u64, max_ttl_s: u64) -> String {
    let admin = centre.bao.admin().unwrap();
    let password = Secret::random().unwrap().expose().to_owned();
    let user = json!({
        "password": password,
        "policies": ["vctl-user"],
        "token_ttl": format!("{ttl_s}s"),
        "token_max_ttl": format!("{max_ttl_s}s"),
    });
    admin
        .post(&format!("auth/userpass/users/{name}"), &user)
        .unwrap();
    password
}

/// Creates an AppRole, and returns both of its ids.
pub(crate) fn machine(centre: &Centre, name: &str, ttl_s: u64, max_ttl_s: u64) -> [String; 2] {
    let ids = centre.machine_login(name, ttl_s, max_ttl_s).unwrap();
    ids.map(|id| id.expose().to_owned())
}

/// Runs a command with this text on standard input.
pub(crate) fn give(mut command: Command, input: &str) -> Said {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap().into()
}
