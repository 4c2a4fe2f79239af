//! Stored and deleted records as text.

use std::io::{self, Write};

use anstyle::Style;
use vctl_common::count::{counted, form};

use crate::retention::model::{Periods, Pruned, StoredRecords};
use crate::ui::columns::Columns;
use crate::ui::{DIM, Layout, WARN, paragraph, sanitize, size};

/// Writes a line per day of events and per table, and the warnings; `wide` includes future days.
pub(crate) fn write(
    out: &mut dyn Write,
    kept: &StoredRecords,
    periods: Periods,
    wide: bool,
    layout: Layout,
) -> io::Result<()> {
    let mut rows: Vec<[String; 5]> = Vec::new();
    for day in kept
        .days
        .iter()
        .filter(|day| wide || day.age >= 0 || day.events > 0)
    {
        rows.push([
            "events".to_owned(),
            sanitize::text(&day.date),
            day.events.to_string(),
            size::bytes(day.bytes),
            "-".to_owned(),
        ]);
    }
    for table in &kept.tables {
        rows.push([
            sanitize::text(&table.name),
            table
                .oldest
                .as_ref()
                .map_or_else(|| "-".to_owned(), sanitize::text),
            table.live.to_string(),
            size::bytes(table.bytes),
            table.dead.to_string(),
        ]);
    }
    let columns = Columns {
        names: ["WHAT", "SINCE", "ROWS (ESTIMATED)", "SIZE", "DEAD ROWS"],
        elastic: &[0, 1],
        spare: &[],
    };
    columns.write(out, &rows, layout)?;
    let total: u64 = kept.days.iter().map(|day| day.bytes).sum();
    let ahead = kept.days.iter().filter(|day| day.age < 0).count();
    writeln!(
        out,
        "\n{DIM}Events take {} in {}; partitions are ready for {ahead} more.{DIM:#}",
        size::bytes(total),
        counted(kept.days.len() - ahead, "day")
    )?;
    for warning in kept.warnings(periods) {
        write!(out, "{WARN}warning:{WARN:#} ")?;
        paragraph::write(out, "warning: ".len(), &warning, Style::new(), layout.width)?;
    }
    Ok(())
}

/// Writes the records that were deleted or would be: `verb` is `deleted` or `would delete`.
pub(crate) fn write_pruned(out: &mut dyn Write, verb: &str, pruned: &[Pruned]) -> io::Result<()> {
    for pruned in pruned {
        match pruned {
            Pruned::Partition { name, bytes } => {
                let day = name.strip_prefix("kernel_event_").and_then(date);
                let day = day.unwrap_or_else(|| sanitize::text(name));
                writeln!(out, "{verb} the events of {day}, {}", size::bytes(*bytes))?;
            }
            Pruned::Sessions(count) => {
                writeln!(out, "{verb} {}", counted(*count, "session"))?;
            }
            Pruned::Gaps(count) => {
                writeln!(
                    out,
                    "{verb} {} that {} to no session",
                    counted(*count, "gap"),
                    form(*count, "belongs", "belong")
                )?;
            }
            Pruned::Accesses(count) => {
                let noun = form(*count, "access", "accesses");
                writeln!(out, "{verb} {count} {noun}")?;
            }
        }
    }
    Ok(())
}

/// Converts `20261124` to `2026-11-24`.
fn date(digits: &str) -> Option<String> {
    let (year, rest) = digits.split_at_checked(4)?;
    let (month, day) = rest.split_at_checked(2)?;
    Some(format!("{year}-{month}-{day}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{assert_golden, rendered};
    use crate::retention::model::StoredTable;
    use crate::retention::model::tests::{USUAL, day};

    #[test]
    fn report_has_days_tables_and_warnings() {
        let kept = StoredRecords {
            days: vec![day(16), day(1), day(0), day(-1)],
            tables: vec![StoredTable {
                name: "audit_session".to_owned(),
                bytes: 2 << 30,
                live: 900,
                dead: 12,
                oldest: Some("2025-11-24".to_owned()),
            }],
            never_closed: 0,
        };
        let page = rendered(|out| write(out, &kept, USUAL, false, Layout::default()));
        assert_golden("retention.txt", &page);
    }

    #[test]
    fn deleted_partition_is_named_by_its_day() {
        let pruned = [
            Pruned::Partition {
                name: "kernel_event_20261109".to_owned(),
                bytes: 3 << 30,
            },
            Pruned::Partition {
                name: "kernel_event_x".to_owned(),
                bytes: 1,
            },
            Pruned::Accesses(3),
        ];
        let page = rendered(|out| write_pruned(out, "would delete", &pruned));
        assert_eq!(
            page,
            "would delete the events of 2026-11-09, 3.0 GiB\n\
             would delete the events of kernel_event_x, 1 B\n\
             would delete 3 accesses\n"
        );
    }
}
