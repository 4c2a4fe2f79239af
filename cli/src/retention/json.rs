//! What is kept, for programs. `docs/retention-json.md` is the contract.

use serde::Serialize;

use crate::retention::model::{Day, Kept, Table};
use crate::ui::records::Records;
use crate::ui::sanitize;

/// What the central store keeps, for every form of the output.
pub(crate) struct Retention;

/// A day of events, or a table.
pub(crate) enum Item {
    Day(Day),
    Table(Table),
}

impl Item {
    /// Returns everything that is kept, the events first.
    pub(crate) fn all(kept: &Kept) -> Vec<Self> {
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
    /// Of events: from their day to today; negative for one to come.
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
    type Record = Item;

    fn json(&self, item: &Item) -> impl Serialize {
        shown(item)
    }

    /// The day, or the table.
    fn name(&self, item: &Item) -> String {
        sanitize::text(match item {
            Item::Day(day) => &day.date,
            Item::Table(table) => &table.name,
        })
    }
}

fn shown(item: &Item) -> ItemJson<'_> {
    match item {
        Item::Day(day) => ItemJson {
            what: "events",
            since: Some(&day.date),
            age_days: Some(day.age),
            rows_estimated: day.events,
            dead_rows: None,
            bytes: day.bytes,
        },
        Item::Table(table) => ItemJson {
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
    use crate::ui::form::Form;
    use crate::ui::json::schema;
    use crate::ui::records;

    #[test]
    fn what_is_kept_is_as_the_schema_says() {
        let kept = Kept {
            days: vec![day(1), day(-1)],
            tables: vec![Table {
                name: "audit_session".to_owned(),
                bytes: 2 << 30,
                live: 900,
                dead: 12,
                oldest: None,
            }],
            never_closed: 0,
        };
        let items = Item::all(&kept);
        let text = rendered(|out| records::write(out, Form::Json, &Retention, &items));
        let document = serde_json::from_str(&text).unwrap();
        schema::assert_fits(schema::OF_RETENTION, None, &document);
        let csv = rendered(|out| records::write(out, Form::Csv, &Retention, &items));
        assert_golden("retention.csv", &csv);
    }
}
