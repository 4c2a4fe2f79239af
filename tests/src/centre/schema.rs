//! Databases with the schema, for specs that need only the SQL of the centre.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use sha2::{Digest as _, Sha256};

use super::configure::repository;
use super::{Centre, Login};

/// Roles that `deploy/vault/setup.sh` creates before the first migration. Existing roles stay as they are.
const ROLES: &str = "
do $$
declare
    name text;
begin
    foreach name in array array['vctl_owner', 'vctl_ro', 'vctl_rw', 'vctl_identity', 'vctl_audit_ro',
        'vctl_audit_writer', 'vctl_audit_ingest', 'vctl_status', 'vctl_pruner', 'vctl_session_end',
        'vctl_revoke', 'vctl_stream_ingest', 'vctl_vault']
    loop
        if not exists (select from pg_roles where rolname = name) then
            execute format('create role %I nologin', name);
        end if;
    end loop;
end
$$";

impl Centre {
    /// Creates a database with that name and applies all migrations to it as `vctl_owner`.
    ///
    /// The result is the same as after `vctl migrate`, which has its own specs.
    pub fn create_database_with_schema(&self, name: &str) -> Result<()> {
        // Roles belong to the whole server, so two specs must not create them at the same time.
        static ROLES_ARE_MADE: Mutex<()> = Mutex::new(());
        {
            let _turn = ROLES_ARE_MADE
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            self.postgres.psql("postgres", ROLES)?;
        }
        self.postgres.create_database(name)?;
        let owner = format!(
            "alter database \"{name}\" owner to vctl_owner; \
             create schema if not exists vctl authorization vctl_owner"
        );
        self.postgres.psql(name, &owner)?;
        self.apply_migrations(self.postgres.superuser(name))
    }

    /// Applies all migrations with a credential of the database role `vctl-migrator`.
    pub(super) fn migrate(&self) -> Result<()> {
        let admin = self.bao.admin()?;
        let credential = admin.credential("vctl-migrator")?;
        let login = credential.login();
        self.postgres
            .psql_as(login, "create schema vctl authorization vctl_owner")?;
        self.apply_migrations(login)?;
        self.enter_authority(login)?;
        admin.revoke(&credential)
    }

    /// `vctl migrate` does the same. Without it a key id does not become a person's name.
    fn enter_authority(&self, login: Login<'_>) -> Result<()> {
        let key = self.ssh_authority()?;
        let key = key.trim();
        let sql = fs::read_to_string(repository().join("cli/src/migrations/sql/record_ca.sql"))?;
        let sql = sql
            .replace("$1", &format!("'{key}'"))
            .replace("$2", "'ssh'");
        self.postgres
            .psql_as(login, &format!("set role vctl_owner; {sql}"))
            .map(drop)
    }

    fn apply_migrations(&self, login: Login<'_>) -> Result<()> {
        let mut psql = self
            .postgres
            .psql_command(login, "verify-full", self.pki.ca());
        psql.args(["-1", "-c", "set role vctl_owner", "-f"])
            .arg(repository().join("cli/src/migrations/sql/ledger.sql"));
        for migration in migrations()? {
            let record = record(&migration)?;
            psql.arg("-f").arg(migration).args(["-c", &record]);
        }
        let output = psql.output().context("cannot run `psql`")?;
        ensure!(
            output.status.success(),
            "the migrations cannot be applied: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }
}

/// Returns the statement that adds a migration to the table of applied migrations.
fn record(migration: &Path) -> Result<String> {
    let name = migration.file_stem().and_then(OsStr::to_str);
    let name = name.context("a migration has no name")?;
    let version = name.split('_').next().unwrap_or_default();
    let mut hash = String::new();
    for byte in Sha256::digest(fs::read(migration)?) {
        write!(hash, "{byte:02x}")?;
    }
    Ok(format!(
        "insert into vctl.schema_migration (version, name, sha256) values ('{version}', '{name}', '{hash}')"
    ))
}

/// Returns the migrations in the order of their numbers.
fn migrations() -> Result<Vec<PathBuf>> {
    let directory = repository().join("migrations");
    let entries = fs::read_dir(&directory)
        .with_context(|| format!("cannot read `{}`", directory.display()))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut migrations: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    migrations.sort();
    Ok(migrations)
}
