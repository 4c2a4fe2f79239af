//! The formats for programs, `-o json|jsonl|yaml|csv|name`, for every kind of record.
//!
//! They do not depend on the terminal: complete, without colours, times in RFC 3339 UTC.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

use super::{Layout, Screen, csv, json};
use crate::ui::format::OutputFormat;

/// A kind of record that can be listed.
pub(crate) trait Records {
    /// Key of the list in a document, such as `hosts`.
    const NAME: &'static str;
    /// Version of the format. It changes when a field changes or is removed, not when one is added.
    const VERSION: u32;
    /// Columns of CSV, named like the JSON fields.
    const COLUMNS: &'static [&'static str];
    type Record;

    fn json(&self, record: &Self::Record) -> impl Serialize;

    /// Returns one cell for each column, escaped for people: the fields of [`Records::json`].
    fn cells(&self, record: &Self::Record) -> Vec<String> {
        cells_of(&self.json(record), Self::COLUMNS)
    }

    /// The name for `-o name`, to pass to the next command.
    fn name(&self, record: &Self::Record) -> String;
}

/// Writes records in a format for programs; writes nothing in a format for people.
pub(crate) fn write<R: Records>(
    out: &mut dyn Write,
    format: OutputFormat,
    kind: &R,
    records: &[R::Record],
) -> io::Result<()> {
    match format {
        OutputFormat::Table | OutputFormat::Wide => Ok(()),
        OutputFormat::Json => json::write(out, &Document { kind, records }),
        OutputFormat::Yaml => json::write_yaml(out, &Document { kind, records }),
        OutputFormat::Jsonl => records
            .iter()
            .try_for_each(|record| json::write_as_line(out, &kind.json(record))),
        OutputFormat::Csv => {
            let heading: Vec<String> = R::COLUMNS.iter().map(|&name| name.to_owned()).collect();
            csv::write_record(out, &heading)?;
            records
                .iter()
                .try_for_each(|record| csv::write_record(out, &kind.cells(record)))
        }
        OutputFormat::Name => records
            .iter()
            .try_for_each(|record| writeln!(out, "{}", kind.name(record))),
    }
}

/// Prints records to standard output: as a table for people, or in a format for programs.
pub(crate) fn print<R: Records>(
    format: OutputFormat,
    kind: &R,
    records: &[R::Record],
    table: impl FnOnce(&mut dyn Write, &[R::Record], Layout) -> io::Result<()>,
) -> io::Result<()> {
    let mut screen = Screen::for_format(format);
    if format.is_for_people() {
        let layout = screen.layout(format == OutputFormat::Wide);
        table(&mut screen, records, layout)?;
    } else {
        write(&mut screen, format, kind, records)?;
    }
    screen.flush()
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

/// Returns the cells of simple fields: text, nothing for null, and list items separated by blanks.
/// `a.b` is the field `b` of the field `a`.
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
