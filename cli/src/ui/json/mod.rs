//! JSON and YAML without characters that control a terminal.

mod escape;
mod yaml;
mod failure;
#[cfg(test)]
pub(crate) mod schema;

use std::io::{self, Write};

use serde::Serialize;

use crate::ui::format::OutputFormat;

pub(crate) use self::failure::write_error;
pub(crate) use self::yaml::write as write_yaml;

/// Writes a value for a script in HTML.
pub(crate) fn write_embedded(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    Ok(value.serialize(&mut escape::embedded(&mut *out))?)
}

/// Writes a value as one document.
pub(crate) fn write(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    value.serialize(&mut escape::pretty(&mut *out))?;
    writeln!(out)
}

/// Writes a value on one line.
pub(crate) fn write_as_line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    value.serialize(&mut escape::compact(&mut *out))?;
    writeln!(out)
}

/// Writes a value in a format for a single document; writes nothing in other formats.
pub(crate) fn write_in(
    out: &mut dyn Write,
    format: OutputFormat,
    value: &impl Serialize,
) -> io::Result<()> {
    match format {
        OutputFormat::Json => write(out, value),
        OutputFormat::Jsonl => write_as_line(out, value),
        OutputFormat::Yaml => write_yaml(out, value),
        OutputFormat::Table | OutputFormat::Wide | OutputFormat::Csv | OutputFormat::Name => Ok(()),
    }
}
