//! Runs `vctl` against a centre as one of its users, and Postgres statements as one of its logins.

use std::process::{Command, Output, Stdio};

use vctl_tests::centre::{Centre, Client, Credential};
use vctl_tests::lab::Programs;

/// Returns `vctl` for `client`, with this database.
pub(crate) fn vctl(centre: &Centre, client: &Client, database: &str, args: &[&str]) -> Command {
    let mut command = Command::new(Programs::find().unwrap().vctl);
    command
        .args(args)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/nonexistent")
        .envs(centre.environment())
        .env("VCTL_DB_NAME", database)
        .env("VAULT_TOKEN", client.token().expose())
        .stdin(Stdio::null());
    command
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs SQL that must be refused, and returns the error.
pub(crate) fn refusal(centre: &Centre, login: &Credential, sql: &str) -> String {
    match centre.postgres.psql_as(login.login(), sql) {
        Ok(said) => panic!("not refused: {sql}: {said}"),
        Err(error) => format!("{error:#}"),
    }
}
