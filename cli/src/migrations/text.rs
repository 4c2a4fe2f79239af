//! The state of the schema of the central store, as text and JSON.

use std::io::{self, Write};

use serde::Serialize;

use crate::migrations::ledger::{MigrationState, MigrationStatus};
use crate::ui::columns::Columns;
use crate::ui::format::OutputFormat;
use crate::ui::{Layout, sanitize};

const COLUMNS: Columns<4> = Columns {
    names: ["NAME", "STATE", "APPLIED", "BY"],
    elastic: &[0, 3],
    spare: &[],
};

pub(crate) fn write_table(
    out: &mut impl Write,
    standings: &[MigrationStatus],
    layout: Layout,
) -> io::Result<()> {
    let rows = standings.iter().map(|standing| {
        let state = match standing.state {
            MigrationState::Applied => "applied",
            MigrationState::Pending => "pending",
            MigrationState::Changed => "changed",
            MigrationState::Unknown => "unknown",
        };
        [
            sanitize::text(&standing.name),
            state.to_owned(),
            sanitize::text(standing.applied_at.as_deref().unwrap_or("-")),
            sanitize::text(standing.applied_by.as_deref().unwrap_or("-")),
        ]
    });
    COLUMNS.write(out, &rows.collect::<Vec<_>>(), layout)?;
    let count = |state| standings.iter().filter(|s| s.state == state).count();
    if count(MigrationState::Pending) > 0 {
        let pending = count(MigrationState::Pending);
        writeln!(out, "\n{pending} to apply: run `vctl migrate`")?;
    }
    if count(MigrationState::Unknown) > 0 {
        writeln!(out, "\nthe schema is newer than this vctl")?;
    }
    if count(MigrationState::Changed) > 0 {
        writeln!(
            out,
            "\na migration differs from the one that was applied: another version of vctl applied it"
        )?;
    }
    Ok(())
}

pub(crate) fn write_for_programs(
    out: &mut impl Write,
    format: OutputFormat,
    standings: &[MigrationStatus],
) -> io::Result<()> {
    #[derive(Serialize)]
    struct Schema<'a> {
        version: i32,
        up_to_date: bool,
        migrations: &'a [MigrationStatus],
    }
    let there = standings
        .iter()
        .filter(|s| s.state != MigrationState::Pending);
    let schema = Schema {
        version: there.map(|s| s.version).max().unwrap_or(0),
        up_to_date: standings.iter().all(|s| s.state == MigrationState::Applied),
        migrations: standings,
    };
    crate::ui::json::write_in(out, format, &schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(version: i32, state: MigrationState, by: &str) -> MigrationStatus {
        MigrationStatus {
            version,
            name: format!("{version:04}_a"),
            state,
            applied_at: (state != MigrationState::Pending)
                .then(|| "2026-11-24T07:00:00Z".to_owned()),
            applied_by: (state != MigrationState::Pending).then(|| by.to_owned()),
        }
    }

    #[test]
    fn login_name_cannot_write_to_the_terminal() {
        let mut out = Vec::new();
        let rows = [
            standing(1, MigrationState::Applied, "m\u{1b}[2J"),
            standing(2, MigrationState::Pending, ""),
        ];
        write_table(&mut out, &rows, Layout::default()).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains("\u{1b}[2J"), "{text:?}");
        assert!(text.contains("1 to apply: run `vctl migrate`"));
    }

    #[test]
    fn json_has_whether_the_schema_is_up_to_date() {
        let mut out = Vec::new();
        write_for_programs(
            &mut out,
            OutputFormat::Json,
            &[
                standing(1, MigrationState::Applied, "m"),
                standing(2, MigrationState::Pending, ""),
            ],
        )
        .unwrap();
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            (&json["version"], &json["up_to_date"]),
            (&1.into(), &false.into())
        );
        assert_eq!(json["migrations"][1]["state"], "pending");
        assert!(json["migrations"][1].get("applied_by").is_none());
    }
}
