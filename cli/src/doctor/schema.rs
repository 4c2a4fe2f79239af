//! Check: do the schema and this vctl fit together?

use vctl_common::centre::DbRole;
use vctl_common::pg::PgError;

use super::CheckResult;
use super::database::RoConnection;
use crate::exit_code::Exit;
use crate::migrations;
use crate::migrations::apply;
use crate::migrations::ledger::{self, MigrationState, MigrationStatus};

pub(super) async fn check(store: &RoConnection) -> CheckResult<()> {
    let applied = match apply::applied(store.client()).await {
        Ok(applied) => applied,
        Err(error) => return CheckResult::failed(error),
    };
    if applied.is_empty() {
        return absent();
    }
    let standings = ledger::compare(migrations::ALL, &applied);
    match store.client().check_schema(&DbRole::Ro).await {
        // The column for this query is then added by one of the pending migrations.
        Ok(()) | Err(PgError::SchemaTooOld(_)) => judge(&standings),
        Err(error) => CheckResult::failed(error),
    }
}

fn absent() -> CheckResult<()> {
    let found = "this database has no vctl schema";
    let fix = "check `VCTL_DB_NAME`; for a new database, an administrator runs `vctl migrate`";
    CheckResult::fail(Exit::Config, found, fix)
}

fn judge(standings: &[MigrationStatus]) -> CheckResult<()> {
    let of = |state: MigrationState| {
        standings
            .iter()
            .filter(move |standing| standing.state == state)
    };
    let there = standings
        .iter()
        .filter(|standing| standing.state != MigrationState::Pending);
    let version = there
        .map(|standing| standing.version)
        .max()
        .unwrap_or_default();
    if let Some(last) = of(MigrationState::Pending).next_back() {
        let found = format!(
            "the schema has version {version}, but this vctl needs {}",
            last.version
        );
        return CheckResult::fail(Exit::Config, found, "an administrator runs `vctl migrate`");
    }
    if let Some(changed) = of(MigrationState::Changed).next() {
        let found = format!(
            "version {version}; the migration `{}` differs from the one that was applied",
            changed.name
        );
        return CheckResult::warn(found, "run `vctl migrate --status` to compare", ());
    }
    let newer = of(MigrationState::Unknown).count();
    let note = if newer > 0 {
        ", newer than this vctl, which can use it"
    } else {
        ""
    };
    CheckResult::pass(format!("version {version}{note}"), ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standings(states: &[MigrationState]) -> Vec<MigrationStatus> {
        states
            .iter()
            .zip(1..)
            .map(|(&state, version)| MigrationStatus {
                version,
                name: format!("{version:04}_x"),
                state,
                applied_at: None,
                applied_by: None,
            })
            .collect()
    }

    #[test]
    fn old_schema_fails_and_newer_schema_passes() {
        let CheckResult::Fail { exit, found, .. } = judge(&standings(&[
            MigrationState::Applied,
            MigrationState::Pending,
        ])) else {
            panic!("well");
        };
        assert_eq!(
            (exit, &*found),
            (
                Exit::Config,
                "the schema has version 1, but this vctl needs 2"
            )
        );
        let newer = judge(&standings(&[
            MigrationState::Applied,
            MigrationState::Unknown,
        ]));
        assert!(matches!(newer, CheckResult::Pass { .. }));
        let edited = judge(&standings(&[
            MigrationState::Changed,
            MigrationState::Applied,
        ]));
        assert!(matches!(edited, CheckResult::Warn { .. }));
    }
}
