//! `-o json|jsonl|yaml|csv|name`: the same forms for whatever is read.
//!
//! Programs get everything, whatever the terminal: no colours, nothing cut, times in RFC 3339 UTC.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

use super::{csv, json};
use crate::ui::form::Form;

/// Things of one kind that can be listed.
pub(crate) trait Records {
    /// What a document calls them: `hosts`.
    const NAME: &'static str;
    /// Changes when a field changes its meaning or goes away; new fields may come at any time.
    const VERSION: u32;
    /// The headings of CSV: those of the fields in JSON.
    const COLUMNS: &'static [&'static str];
    type Record;

    fn json(&self, record: &Self::Record) -> impl Serialize;

    /// Returns one cell for each column, escaped for people: the fields of [`Records::json`].
    fn cells(&self, record: &Self::Record) -> Vec<String> {
        cells_of(&self.json(record), Self::COLUMNS)
    }

    /// What the next command is to be given.
    fn name(&self, record: &Self::Record) -> String;
}

/// Writes records in a form for programs; in one for people, nothing.
pub(crate) fn write<R: Records>(
    out: &mut dyn Write,
    form: Form,
    kind: &R,
    records: &[R::Record],
) -> io::Result<()> {
    match form {
        Form::Table | Form::Wide => Ok(()),
        Form::Json => json::write(out, &Document { kind, records }),
        Form::Yaml => json::write_yaml(out, &Document { kind, records }),
        Form::Jsonl => records
            .iter()
            .try_for_each(|record| json::write_as_line(out, &kind.json(record))),
        Form::Csv => {
            let heading: Vec<String> = R::COLUMNS.iter().map(|&name| name.to_owned()).collect();
            csv::write_record(out, &heading)?;
            records
                .iter()
                .try_for_each(|record| csv::write_record(out, &kind.cells(record)))
        }
        Form::Name => records
            .iter()
            .try_for_each(|record| writeln!(out, "{}", kind.name(record))),
    }
}

struct Document<'a, R: Records> {
    kind: &'a R,
    records: &'a [R::Record],
}

impl<R: Records> Serialize for Document<'_, R> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("version", &R::VERSION)?;
        map.serialize_entry(R::NAME, &List(self))?;
        map.end()
    }
}

struct List<'a, 'b, R: Records>(&'b Document<'a, R>);

impl<R: Records> Serialize for List<'_, '_, R> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Document { kind, records } = self.0;
        serializer.collect_seq(records.iter().map(|record| kind.json(record)))
    }
}

/// Returns the cells of fields that are plain: the text of each, nothing for null, and the items of a
/// list with blanks between. `a.b` is the field `b` of what is in the field `a`.
pub(crate) fn cells_of(record: &impl Serialize, columns: &[&str]) -> Vec<String> {
    let value = serde_json::to_value(record).unwrap_or_default();
    let field = |path: &str| {
        path.split('.')
            .fold(&value, |value, name| &value[name])
            .clone()
    };
    columns.iter().map(|&path| cell(&field(path))).collect()
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => super::sanitize::text(text),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}
