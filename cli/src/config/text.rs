//! Output of `vctl config`: settings in effect, and settings of a directory's file.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anstyle::Style;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

use crate::config::{Loaded, Setting, TrustState};
use crate::ui::format::OutputFormat;
use crate::ui::wrap::wrapped;
use crate::ui::{BAD, DIM, Layout, json, paragraph, sanitize};

/// Columns before a source: two blanks, `#` and a blank.
const BELOW: usize = 4;

/// Writes the settings in the format of the configuration file; refused settings follow as comments.
///
/// A source that does not fit on the line of its setting is written below it. A setting is never broken,
/// because a user may copy it into a file.
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
    format: OutputFormat,
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
    json::write_in(out, format, &document)
}

/// Writes the settings of a file, to review before trusting it.
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
    all: &[(PathBuf, TrustState)],
    width: Option<usize>,
) -> io::Result<()> {
    for (path, state) in all {
        let state = match state {
            TrustState::Trusted => "trusted",
            TrustState::Changed => "changed",
            TrustState::Gone => "gone",
        };
        write!(out, "{state:7}  ")?;
        let path = path.display().to_string();
        paragraph::write(out, 9, &path, Style::new(), width)?;
    }
    Ok(())
}
