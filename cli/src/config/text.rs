//! The settings in effect, and those that a directory's file sets.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anstyle::Style;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

use crate::config::{Loaded, Setting, Standing};
use crate::ui::form::Form;
use crate::ui::wrap::wrapped;
use crate::ui::{BAD, DIM, Layout, json, paragraph, sanitize};

/// Columns before a source: blanks and `#`.
const BELOW: usize = 4;

/// As a file that would set the same; what is refused stands at the end as comments.
///
/// A source that does not fit beside its setting stands below it; a setting is never broken, because it may be
/// copied into a file.
pub(crate) fn write(
    out: &mut impl Write,
    loaded: &Loaded,
    refused: &[Setting],
    layout: Layout,
) -> io::Result<()> {
    for (line, source) in loaded.effective_lines() {
        let source = sanitize::text(source.to_string());
        let beside = line.width() + BELOW + source.width();
        if layout.width.is_none_or(|width| beside <= width) {
            writeln!(out, "{line}  {DIM}# {source}{DIM:#}")?;
            continue;
        }
        writeln!(out, "{}", line.trim_end())?;
        let room = layout
            .width
            .map_or(usize::MAX, |width| width.saturating_sub(BELOW).max(1));
        for part in wrapped(&source, room, usize::MAX) {
            writeln!(out, "  {DIM}# {part}{DIM:#}")?;
        }
    }
    for setting in refused {
        let source = sanitize::text(setting.source.to_string());
        let line = &setting.line;
        writeln!(out, "{BAD}#{line}  # refused, not trusted: {source}{BAD:#}")?;
    }
    Ok(())
}

pub(crate) fn write_for_programs(
    out: &mut impl Write,
    form: Form,
    loaded: &Loaded,
    refused: &[Setting],
) -> io::Result<()> {
    let mut document = loaded.effective_json();
    for setting in refused {
        if let Some(key) = document.get_mut(setting.key).and_then(Value::as_object_mut) {
            let (line, source) = (&setting.line, setting.source.to_string());
            key.insert(
                "refused".to_owned(),
                json!({ "line": line, "source": source }),
            );
        }
    }
    json::write_in(out, form, &document)
}

/// What a person is to read before trusting it.
pub(crate) fn write_set(out: &mut impl Write, path: &Path, set: &[Setting]) -> io::Result<()> {
    writeln!(out, "{} sets:", sanitize::text(path.display().to_string()))?;
    for setting in set {
        let note = if setting.needs_trust {
            ""
        } else {
            "  # allowed without trust"
        };
        writeln!(out, "  {}{DIM}{note}{DIM:#}", setting.line)?;
    }
    Ok(())
}

pub(crate) fn write_trusted(
    out: &mut impl Write,
    all: &[(PathBuf, Standing)],
    width: Option<usize>,
) -> io::Result<()> {
    for (path, standing) in all {
        let standing = match standing {
            Standing::Trusted => "trusted",
            Standing::Changed => "changed",
            Standing::Gone => "gone",
        };
        write!(out, "{standing:7}  ")?;
        let path = path.display().to_string();
        paragraph::write(out, 9, &path, Style::new(), width)?;
    }
    Ok(())
}
