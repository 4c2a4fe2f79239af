//! `vctl mcp`: tools for AI agents on a real sshd, OpenBao and Postgres.

mod exec;
mod idle;
mod protocol;
mod sdk;
mod stop;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use tempfile::TempDir;
use vctl_tests::centre::Host;

use crate::ssh::{Operator, shared};

pub(crate) use vctl_tests::mcp_client::Client;

/// A server of one user, with one host in the inventory.
struct Served {
    client: Client,
    operator: Operator<'static>,
    host: String,
}

impl Served {
    /// Starts the server of a user with this name. The host is the shared one, under a name of its own.
    fn or_skip(name: &str) -> Option<Self> {
        Self::with_policy(name, None)
    }

    /// Like [`or_skip`](Self::or_skip), with one more policy.
    fn with_policy(name: &str, policy: Option<&str>) -> Option<Self> {
        let centre = shared()?;
        let operator = Operator::new(centre, name);
        if let Some(policy) = policy {
            operator.may(policy);
        }
        let host = format!("{name}-1");
        host_of(&operator, &host, centre.host.as_ref().unwrap());
        Some(Self {
            client: Client::start(operator.at.command(&["mcp"])),
            operator,
            host,
        })
    }

    /// Starts a command on the host, without waiting for its end.
    fn start(&mut self, id: u32, command: &str) {
        let arguments = json!({"host": self.host, "command": command});
        self.client.call(id, "vctl_ssh_exec", &arguments);
    }

    /// Runs a command on the host, and returns the result of the call.
    fn run(&mut self, id: u32, command: &str) -> Value {
        self.start(id, command);
        self.client.answer(id)["result"].take()
    }

    /// Returns the rows of the access log for the host.
    fn accesses(&self) -> Vec<Value> {
        self.operator.accesses(&self.host)
    }
}

/// Adds the shared host to the inventory, without its key in `known_hosts`.
fn host_of(operator: &Operator<'_>, name: &str, host: &Host) {
    operator.inventory(name, "127.0.0.1", host.port(), host.user());
}

/// Creates a directory that the login user of a host can write.
fn open_dir() -> TempDir {
    let dir = tempfile::Builder::new()
        .prefix("vctl-mcp")
        .tempdir_in("/tmp");
    let dir = dir.unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    dir
}
