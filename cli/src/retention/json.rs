//! Stored records as JSON, by day and table. `docs/retention-json.md` specifies it.

use serde::Serialize;

use crate::retention::model::{StoredDay, StoredRecords, StoredTable};
use crate::ui::records::Records;
use crate::ui::sanitize;

/// The stored records, for every output format.
pub(crate) struct Retention;

/// A day of events, or a table.
pub(crate) enum RetentionItem {
    Day(StoredDay),
    Table(StoredTable),
}

impl RetentionItem {
    /// Returns all items, the days of events first.
    pub(crate) fn all(kept: &StoredRecords) -> Vec<Self> {
        let days = kept.days.iter().cloned().map(Self::Day);
        days.chain(kept.tables.iter().cloned().map(Self::Table))
            .collect()
    }
}

#[derive(Serialize)]
struct ItemJson<'a> {
    /// `events`, or the name of a table.
    what: &'a str,
    /// The day of the events, or of the oldest row.
    since: Option<&'a str>,
    /// For events: days from then to today; negative for a future day.
    age_days: Option<i32>,
    rows_estimated: u64,
    dead_rows: Option<u64>,
    bytes: u64,
}

impl Records for Retention {
    const NAME: &'static str = "kept";
    const VERSION: u32 = 1;
    const COLUMNS: &'static [&'static str] = &[
        "what",
        "since",
        "age_days",
        "rows_estimated",
        "dead_rows",
        "bytes",
    ];
    type Record = RetentionItem;

    fn json(&self, item: &RetentionItem) -> impl Serialize {
        shown(item)
    }

    /// The day, or the table.
    fn name(&self, item: &RetentionItem) -> String {
        sanitize::text(match item {
            RetentionItem::Day(day) => &day.date,
            RetentionItem::Table(table) => &table.name,
        })
    }
}

fn shown(item: &RetentionItem) -> ItemJson<'_> {
    match item {
        RetentionItem::Day(day) => ItemJson {
            what: "events",
            since: Some(&day.date),
            age_days: Some(day.age),
            rows_estimated: day.events,
            dead_rows: None,
            bytes: day.bytes,
        },
        RetentionItem::Table(table) => ItemJson {
            what: &table.name,
            since: table.oldest.as_deref(),
            age_days: None,
            rows_estimated: table.live,
            dead_rows: Some(table.dead),
            bytes: table.bytes,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{assert_golden, rendered};
    use crate::retention::model::tests::day;
    use crate::ui::format::OutputFormat;
    use crate::ui::json::schema;
    use crate::ui::records;

    #[test]
    fn items_fit_the_schema() {
        let kept = StoredRecords {
            days: vec![day(1), day(-1)],
            tables: vec![StoredTable {
                name: "audit_session".to_owned(),
                bytes: 2 << 30,
                live: 900,
                dead: 12,
                oldest: None,
            }],
            never_closed: 0,
        };
        let items = RetentionItem::all(&kept);
        let text = rendered(|out| records::write(out, OutputFormat::Json, &Retention, &items));
        let document = serde_json::from_str(&text).unwrap();
        schema::assert_fits(schema::OF_RETENTION, None, &document);
        let csv = rendered(|out| records::write(out, OutputFormat::Csv, &Retention, &items));
        assert_golden("retention.csv", &csv);
    }
}
