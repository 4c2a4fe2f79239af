//! One run of specs on one pair of servers.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::postgres::Build;
use super::short_form::{ATTACKS, CENTRE, GUARD};
use crate::command::{Built, as_root, run_and_read, say};
use crate::failures;
use crate::specs;

/// The spec that prints the versions of the running servers.
const NAMES_SERVERS: &str = "setup::servers::the_centre_runs_the_chosen_programs";

/// Number of specs that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Form {
    /// Seconds, before all specs.
    Guard,
    /// Minutes: each SQL file of vctl runs.
    Short,
    /// All specs of `centre` and `attacks`.
    Full,
}

impl Form {
    /// Returns the name in the files of reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Guard => "guard",
            Self::Short => "short",
            Self::Full => "full",
        }
    }
}

/// The servers of a run.
pub(super) struct Servers {
    postgres: &'static Build,
    programs: PathBuf,
    /// Program of HashiCorp Vault. Without it the run uses `bao` of PATH or the pinned OpenBao.
    pub(super) vault: Option<PathBuf>,
}

/// Result of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) postgres: String,
    /// Name and version of the secrets server.
    pub(super) secrets_server: String,
    pub(super) form: Form,
    pub(super) passed: usize,
    pub(super) failed: Vec<String>,
    pub(super) seconds: f64,
    pub(super) threads: usize,
}

impl Servers {
    pub(super) fn of(postgres: &'static Build) -> Result<Self> {
        Ok(Self {
            postgres,
            programs: postgres.fetch()?,
            vault: None,
        })
    }

    /// Returns a program that runs specs on these servers.
    fn command(&self, program: &Built) -> Command {
        let mut command = as_root("env");
        command.arg("VCTL_TEST_REQUIRE=1").args(specs::toolchain());
        // A user's own choice would also reach the specs.
        let vault = self.vault.as_ref().map(|path| path.display().to_string());
        command.arg(format!("VCTL_TEST_VAULT_BIN={}", vault.unwrap_or_default()));
        command.arg(format!(
            "VCTL_TEST_POSTGRES_BIN={}",
            self.programs.display()
        ));
        command.arg(format!("RUST_TEST_THREADS={}", specs::threads()));
        command.arg(&program.executable);
        command
    }
}

/// Returns the program `vault` on PATH if it is HashiCorp's.
pub(super) fn hashicorp_vault() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut programs = std::env::split_paths(&path).map(|directory| directory.join("vault"));
    let vault = programs.find(|program| program.is_file())?;
    let output = Command::new(&vault).arg("version").output().ok()?;
    // OpenBao may have that name too.
    output.stdout.starts_with(b"Vault v").then_some(vault)
}

/// Runs the specs of a form.
///
/// # Errors
/// A program cannot be started, other servers ran than the chosen ones, or a name of the form matches no spec.
pub(super) fn specs_on(servers: &Servers, form: Form, built: &[Built]) -> Result<Run> {
    let began = Instant::now();
    let program = |name: &str| {
        let mut programs = built.iter().filter(|built| built.is_test);
        let found = programs.find(|built| built.name == name);
        found.with_context(|| format!("`{name}` was not built"))
    };
    let parts: &[(&str, &[&str])] = match form {
        Form::Guard => &[("centre", GUARD)],
        Form::Short => &[("attacks", ATTACKS), ("centre", CENTRE)],
        Form::Full => &[("attacks", &[]), ("centre", &[])],
    };
    for (name, filters) in parts {
        each_filter_matches(program(name)?, filters)?;
    }
    let (postgres, secrets_server) = named(servers, program("centre")?)?;
    say(&format!(
        "Running specs on Postgres {postgres} and {secrets_server}."
    ));
    let mut run = Run {
        postgres,
        secrets_server,
        form,
        passed: 0,
        failed: Vec::new(),
        seconds: 0.0,
        threads: specs::threads(),
    };
    for (name, filters) in parts {
        let mut command = servers.command(program(name)?);
        let (is_success, printed) = run_and_read(command.args(*filters))?;
        run.passed += count(&printed, "... ok");
        let failed = printed.lines().filter_map(failed_spec);
        let before = run.failed.len();
        run.failed
            .extend(failed.map(|spec| format!("{name}: {spec}")));
        for excerpt in failures::excerpts(&printed) {
            say(&format!("{name}: {excerpt}"));
        }
        // A program that crashed printed no name.
        if !is_success && run.failed.len() == before {
            run.failed.push(format!("{name}: the program itself"));
        }
    }
    run.seconds = began.elapsed().as_secs_f64().round();
    Ok(run)
}

/// Starts the servers once, and returns the versions that they report.
fn named(servers: &Servers, centre: &Built) -> Result<(String, String)> {
    let mut command = servers.command(centre);
    command.args(["--exact", "--nocapture", NAMES_SERVERS]);
    let (_, printed) = run_and_read(&mut command)?;
    let Some((postgres, secrets)) = servers_line(&printed) else {
        bail!(
            "the servers do not start on Postgres {}",
            servers.postgres.version
        );
    };
    // sudo can drop a variable, and the spec would then start another version.
    ensure!(
        postgres == servers.postgres.version,
        "Postgres {postgres} ran instead of {}",
        servers.postgres.version
    );
    ensure!(
        servers.vault.is_none() || secrets.starts_with("Vault "),
        "{secrets} ran instead of HashiCorp Vault"
    );
    Ok((postgres, secrets))
}

/// Returns the two servers of the line `servers: Postgres 18.4, OpenBao 2.7.2`.
fn servers_line(printed: &str) -> Option<(String, String)> {
    // The test runner does not end its line before the spec prints.
    let mut lines = printed.lines();
    let (_, servers) = lines.find_map(|line| line.split_once("servers: Postgres "))?;
    let (postgres, secrets) = servers.split_once(", ")?;
    Some((postgres.to_owned(), secrets.to_owned()))
}

/// Without this check a renamed spec would leave the form.
fn each_filter_matches(program: &Built, filters: &[&str]) -> Result<()> {
    let output = Command::new(&program.executable)
        .arg("--list")
        .stderr(Stdio::inherit())
        .output()?;
    let listed = String::from_utf8(output.stdout)?;
    for filter in filters {
        let is_named = listed.lines().any(|line| line.contains(filter));
        ensure!(is_named, "`{}` has no spec `{filter}`", program.name);
    }
    Ok(())
}

fn count(printed: &str, result: &str) -> usize {
    let lines = printed.lines().filter(|line| line.starts_with("test "));
    lines.filter(|line| line.ends_with(result)).count()
}

fn failed_spec(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

#[cfg(test)]
mod tests {
    use super::{count, failed_spec, servers_line};

    const PRINTED: &str = "running 3 tests\ntest a::b ... ok\ntest a::c ... FAILED\ntest d ... ignored, later\n\n\
        test result: FAILED. 1 passed; 1 failed; 1 ignored\n";

    #[test]
    fn results_are_counted_by_name() {
        assert_eq!(count(PRINTED, "... ok"), 1);
        let failed: Vec<_> = PRINTED.lines().filter_map(failed_spec).collect();
        assert_eq!(failed, ["a::c"]);
    }

    #[test]
    fn the_servers_are_read_from_the_specs_line() {
        let printed = "running 1 test\ntest x ... servers: Postgres 18.4, OpenBao 2.7.2\nok\n";
        let read = servers_line(printed).unwrap();
        assert_eq!(read, ("18.4".to_owned(), "OpenBao 2.7.2".to_owned()));
        assert!(servers_line("test x ... FAILED\n").is_none());
    }
}
