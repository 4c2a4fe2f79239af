//! Check: do the schema and this vctl fit together?

use vctl_common::centre::DbRole;
use vctl_common::pg::PgError;

use super::Finding;
use super::database::Store;
use crate::exit_code::Exit;
use crate::migrations;
use crate::migrations::apply;
use crate::migrations::ledger::{self, Standing, State};

pub(super) async fn probe(store: &Store) -> Finding<()> {
    let applied = match apply::applied(store.client()).await {
        Ok(applied) => applied,
        Err(error) => return Finding::failed(error),
    };
    if applied.is_empty() {
        return absent();
    }
    let standings = ledger::compare(migrations::ALL, &applied);
    match store.client().check_schema(&DbRole::Ro).await {
        // The column for this query is then added by one of the pending migrations.
        Ok(()) | Err(PgError::SchemaTooOld(_)) => judge(&standings),
        Err(error) => Finding::failed(error),
    }
}

fn absent() -> Finding<()> {
    let found = "this database has no vctl schema";
    let fix = "check `VCTL_DB_NAME`; for a new database, an administrator runs `vctl migrate`";
    Finding::fail(Exit::Config, found, fix)
}

fn judge(standings: &[Standing]) -> Finding<()> {
    let of = |state: State| {
        standings
            .iter()
            .filter(move |standing| standing.state == state)
    };
    let there = standings
        .iter()
        .filter(|standing| standing.state != State::Pending);
    let version = there
        .map(|standing| standing.version)
        .max()
        .unwrap_or_default();
    if let Some(last) = of(State::Pending).next_back() {
        let found = format!(
            "the schema has version {version}, but this vctl needs {}",
            last.version
        );
        return Finding::fail(Exit::Config, found, "an administrator runs `vctl migrate`");
    }
    if let Some(changed) = of(State::Changed).next() {
        let found = format!(
            "version {version}; the migration `{}` differs from the one that was applied",
            changed.name
        );
        return Finding::warn(found, "run `vctl migrate --status` to compare", ());
    }
    let newer = of(State::Unknown).count();
    let note = if newer > 0 {
        ", newer than this vctl, which can use it"
    } else {
        ""
    };
    Finding::pass(format!("version {version}{note}"), ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standings(states: &[State]) -> Vec<Standing> {
        states
            .iter()
            .zip(1..)
            .map(|(&state, version)| Standing {
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
        let Finding::Fail { exit, found, .. } =
            judge(&standings(&[State::Applied, State::Pending]))
        else {
            panic!("well");
        };
        assert_eq!(
            (exit, &*found),
            (
                Exit::Config,
                "the schema has version 1, but this vctl needs 2"
            )
        );
        let newer = judge(&standings(&[State::Applied, State::Unknown]));
        assert!(matches!(newer, Finding::Pass { .. }));
        let edited = judge(&standings(&[State::Changed, State::Applied]));
        assert!(matches!(edited, Finding::Warn { .. }));
    }
}
