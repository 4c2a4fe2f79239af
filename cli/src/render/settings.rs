//! The settings in effect.

use std::io::{self, Write};

use super::{DIM, json, sanitize};
use crate::config::Loaded;

/// As a file that would set the same.
pub(crate) fn write(out: &mut impl Write, loaded: &Loaded) -> io::Result<()> {
    for (line, source) in loaded.effective_lines() {
        let source = sanitize::text(source.to_string());
        writeln!(out, "{line}  {DIM}# {source}{DIM:#}")?;
    }
    Ok(())
}

pub(crate) fn write_json(out: &mut impl Write, loaded: &Loaded) -> io::Result<()> {
    json::write(out, &loaded.effective_json())?;
    Ok(())
}
