//! Queries the centre's Postgres with the real client over verified TLS.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::postgres::{DB_ADMIN, DB_NAME, Postgres};
use super::secret::Secret;

/// Longest wait for a place among a role's connections.
const PLACE: Duration = Duration::from_secs(10);

/// A role that logs in to a database.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    pub database: &'a str,
    pub user: &'a str,
    pub password: &'a Secret,
}

impl Postgres {
    /// Runs SQL as the superuser and returns its rows without headings. `|` separates the columns.
    ///
    /// # Errors
    /// At the first statement that fails, with the server's error message.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String> {
        self.psql_as(self.superuser(database), sql)
    }

    /// Does the same as `psql`, for another role. Waits for a place if the role has all its connections: Postgres may
    /// still count one whose client has ended.
    pub fn psql_as(&self, login: Login<'_>, sql: &str) -> Result<String> {
        let began = Instant::now();
        loop {
            let output = self
                .psql_command(login, "verify-full", self.ca())
                .args(["-c", sql])
                .output()
                .context("cannot run `psql`")?;
            let said = String::from_utf8_lossy(&output.stderr);
            if !said.contains("too many connections for role") || began.elapsed() > PLACE {
                return answer(output);
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// Creates a database for one test.
    pub fn create_database(&self, name: &str) -> Result<()> {
        self.psql("postgres", &format!("create database \"{name}\""))?;
        Ok(())
    }

    /// Removes a database, and closes the connections to it.
    pub fn drop_database(&self, name: &str) -> Result<()> {
        let sql = format!("drop database if exists \"{name}\" with (force)");
        self.psql("postgres", &sql)?;
        Ok(())
    }

    pub fn superuser<'a>(&'a self, database: &'a str) -> Login<'a> {
        Login {
            database,
            user: DB_ADMIN,
            password: self.password(),
        }
    }

    /// Returns `psql` up to its SQL. `sslmode` and `ca` are libpq's settings.
    pub fn psql_command(&self, login: Login<'_>, sslmode: &str, ca: &Path) -> Command {
        let mut command = Command::new(&self.programs.psql);
        command
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("PGHOST", DB_NAME)
            .env("PGHOSTADDR", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGDATABASE", login.database)
            .env("PGUSER", login.user)
            .env("PGPASSWORD", login.password.expose())
            .env("PGSSLMODE", sslmode)
            .env("PGSSLROOTCERT", ca)
            .env("PGCONNECT_TIMEOUT", "20")
            .stdin(Stdio::null());
        command
    }
}

fn answer(output: Output) -> Result<String> {
    ensure!(
        output.status.success(),
        "psql: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let text = String::from_utf8(output.stdout)?;
    Ok(text.trim_end_matches('\n').to_owned())
}
