//! Runs `vctl` and `vctl-agent` against a centre, as somebody.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};

use vctl_tests::centre::{Centre, Client, HostIdentity};
use vctl_tests::lab::Programs;
use vctl_tests::terminal::Terminal;

/// Returns `vctl` for whoever `client` is; `database` stands for the usual one.
pub(crate) fn vctl(centre: &Centre, client: &Client, database: &str, args: &[&str]) -> Command {
    let mut command = Command::new(Programs::find().unwrap().vctl);
    command
        .args(args)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        // Whoever runs the specs has hosts of their own to keep.
        .env("HOME", "/nonexistent")
        .env("LANG", "C.UTF-8")
        .envs(centre.environment())
        .env("VCTL_DB_NAME", database)
        .env("VAULT_TOKEN", client.token().expose())
        .stdin(Stdio::null());
    command
}

/// Returns `vctl-agent node` of a host, with its files in `directory`.
pub(crate) fn node(
    centre: &Centre,
    host: &HostIdentity,
    directory: &Path,
    args: &[&str],
) -> Command {
    let file = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let role_id = file("role_id", host.role_id.expose());
    let secret_id = file("secret_id", host.secret_id.expose());
    let mut command = Command::new(Programs::find().unwrap().agent);
    command
        .args(["node", "--hostname", &host.name])
        .args(args)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(centre.environment())
        .env("VCTL_ROLE_ID_FILE", role_id)
        .env("VCTL_SECRET_ID_FILE", secret_id)
        .env("VCTL_AGENT_RUN_DIR", directory)
        .stdin(Stdio::null());
    command
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs a command on a terminal that is so wide, where nobody types anything; returns what is shown.
pub(crate) fn on_a_terminal(mut command: Command, columns: u16) -> (String, ExitStatus) {
    command.env("TERM", "xterm-256color");
    let mut terminal = Terminal::start(command, columns).unwrap();
    let status = terminal.end().unwrap();
    (terminal.shown().replace("\r\n", "\n"), status)
}
