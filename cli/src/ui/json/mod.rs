//! JSON and YAML, with no character that a terminal would act on.

mod escape;
mod yaml;
mod failure;
#[cfg(test)]
pub(crate) mod schema;

use std::io::{self, Write};

use serde::Serialize;

use crate::ui::form::Form;

pub(crate) use self::failure::write_error;
pub(crate) use self::yaml::write as write_yaml;

/// Writes a value where HTML is around it.
pub(crate) fn write_embedded(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    Ok(value.serialize(&mut escape::embedded(&mut *out))?)
}

/// Writes any value as one document.
pub(crate) fn write(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    value.serialize(&mut escape::pretty(&mut *out))?;
    writeln!(out)
}

/// Writes any value on one line.
pub(crate) fn write_as_line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    value.serialize(&mut escape::compact(&mut *out))?;
    writeln!(out)
}

/// Writes any value in a form for one document; in another, nothing.
pub(crate) fn write_in(out: &mut dyn Write, form: Form, value: &impl Serialize) -> io::Result<()> {
    match form {
        Form::Json => write(out, value),
        Form::Jsonl => write_as_line(out, value),
        Form::Yaml => write_yaml(out, value),
        Form::Table | Form::Wide | Form::Csv | Form::Name => Ok(()),
    }
}
