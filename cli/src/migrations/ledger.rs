//! Compares the migrations applied to a database with those of this version of vctl.
//!
//! refinery's ledger was considered: it holds a checksum of each migration, but not of the check
//! paired with it.

use serde::Serialize;

use super::Migration;

/// A row of `vctl.schema_migration`.
#[derive(Clone, Debug)]
pub(crate) struct Applied {
    pub(crate) version: i32,
    pub(crate) name: String,
    pub(crate) sha256: String,
    /// RFC 3339, UTC.
    pub(crate) at: String,
    pub(crate) by: String,
}

/// State of one migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MigrationState {
    Applied,
    Pending,
    /// The file differs from the one that was applied.
    Changed,
    /// Applied by a newer vctl.
    Unknown,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct MigrationStatus {
    pub(crate) version: i32,
    pub(crate) name: String,
    pub(crate) state: MigrationState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) applied_at: Option<String>,
    /// The database login, which Vault named after the person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) applied_by: Option<String>,
}

/// Reason why no migration may be applied.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Changed(String),
    /// The schema is newer; the names of the unknown migrations.
    Newer(Vec<String>),
    /// This migration is missing, but a later one was applied.
    Skipped(String),
}

/// Returns the state of every migration known to either side, by version.
pub(crate) fn compare(known: &[Migration], applied: &[Applied]) -> Vec<MigrationStatus> {
    let mut all: Vec<MigrationStatus> = known
        .iter()
        .map(|migration| {
            let row = applied
                .iter()
                .find(|row| row.version == migration.version());
            let same =
                row.map(|row| row.name == migration.name && row.sha256 == migration.sha256());
            let state = match same {
                None => MigrationState::Pending,
                Some(true) => MigrationState::Applied,
                Some(false) => MigrationState::Changed,
            };
            standing(migration.version(), migration.name, state, row)
        })
        .collect();
    let newer = applied.iter().filter(|row| {
        known
            .iter()
            .all(|migration| migration.version() != row.version)
    });
    all.extend(
        newer.map(|row| standing(row.version, &row.name, MigrationState::Unknown, Some(row))),
    );
    all.sort_by_key(|standing| standing.version);
    all
}

fn standing(
    version: i32,
    name: &str,
    state: MigrationState,
    row: Option<&Applied>,
) -> MigrationStatus {
    MigrationStatus {
        version,
        name: name.to_owned(),
        state,
        applied_at: row.map(|row| row.at.clone()),
        applied_by: row.map(|row| row.by.clone()),
    }
}

/// Returns the migrations still to apply.
pub(crate) fn pending<'a>(
    known: &'a [Migration],
    applied: &[Applied],
) -> Result<Vec<&'a Migration>, Refusal> {
    let all = compare(known, applied);
    if let Some(changed) = all.iter().find(|s| s.state == MigrationState::Changed) {
        return Err(Refusal::Changed(changed.name.clone()));
    }
    let unknown = all.iter().filter(|s| s.state == MigrationState::Unknown);
    let unknown: Vec<String> = unknown.map(|s| s.name.clone()).collect();
    if !unknown.is_empty() {
        return Err(Refusal::Newer(unknown));
    }
    let last = applied.iter().map(|row| row.version).max().unwrap_or(0);
    let is_there = |m: &&Migration| applied.iter().any(|row| row.version == m.version());
    let (_, pending): (Vec<&Migration>, Vec<&Migration>) = known.iter().partition(is_there);
    match pending.iter().find(|migration| migration.version() < last) {
        Some(skipped) => Err(Refusal::Skipped(skipped.name.to_owned())),
        None => Ok(pending),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Migration] = &[
        Migration {
            name: "0001_a",
            sql: "a",
            check: "",
        },
        Migration {
            name: "0002_b",
            sql: "b",
            check: "",
        },
        Migration {
            name: "0003_c",
            sql: "c",
            check: "",
        },
    ];

    fn row(migration: &Migration) -> Applied {
        Applied {
            version: migration.version(),
            name: migration.name.to_owned(),
            sha256: migration.sha256(),
            at: "2026-11-24T07:00:00Z".to_owned(),
            by: "migrator/albert~0/1".to_owned(),
        }
    }

    fn names(pending: &[&Migration]) -> Vec<&'static str> {
        pending.iter().map(|migration| migration.name).collect()
    }

    #[test]
    fn missing_migration_is_pending() {
        assert_eq!(
            names(&pending(KNOWN, &[]).unwrap()),
            ["0001_a", "0002_b", "0003_c"]
        );
        assert_eq!(
            names(&pending(KNOWN, &[row(&KNOWN[0])]).unwrap()),
            ["0002_b", "0003_c"]
        );
        let all: Vec<Applied> = KNOWN.iter().map(row).collect();
        assert!(pending(KNOWN, &all).unwrap().is_empty());
    }

    #[test]
    fn edited_or_renamed_file_is_refused_by_name() {
        let mut edited = row(&KNOWN[0]);
        edited.sha256 = "0".repeat(64);
        let mut renamed = row(&KNOWN[0]);
        renamed.name = "0001_z".to_owned();
        for rows in [edited, renamed] {
            let refused = pending(KNOWN, &[rows]).unwrap_err();
            assert_eq!(refused, Refusal::Changed("0001_a".to_owned()));
        }
    }

    #[test]
    fn newer_schema_is_not_changed() {
        let mut newer = row(&KNOWN[2]);
        newer.version = 9;
        newer.name = "0009_z".to_owned();
        let mut rows: Vec<Applied> = KNOWN.iter().map(row).collect();
        rows.push(newer);
        let refused = pending(KNOWN, &rows).unwrap_err();
        assert_eq!(refused, Refusal::Newer(vec!["0009_z".to_owned()]));
        let last = compare(KNOWN, &rows).pop().unwrap();
        assert_eq!((last.version, last.state), (9, MigrationState::Unknown));
    }

    #[test]
    fn migrations_are_never_applied_out_of_order() {
        let refused = pending(KNOWN, &[row(&KNOWN[0]), row(&KNOWN[2])]).unwrap_err();
        assert_eq!(refused, Refusal::Skipped("0002_b".to_owned()));
    }
}
