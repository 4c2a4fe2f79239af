//! Messages on stderr: notes, errors, progress. No other module writes text to stderr.
//!
//! Each function escapes its text, so a caller cannot forget it: names of the inventory, answers of Vault
//! and messages of a host are foreign. A message is always one line.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _, Write};
use std::panic::{self, PanicHookInfo};
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anstyle::Style;
use tokio::time::timeout;
use vctl_common::waits;

use super::stderr::stderr;
use super::{BAD, BOLD, WARN, json, paragraph, sanitize};
use crate::error::CliError;
use crate::ui::format::ErrorFormat;

/// Prints a note for the user. Scripts should not parse it.
pub(crate) fn note(message: &str) {
    say(&mut stderr(), Kind::Note, message);
}

/// Like [`note`], but prints the same text only once in a command.
pub(crate) fn note_once(message: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.insert(message.to_owned()) {
        note(message);
    }
}

/// Prints the result of a command.
pub(crate) fn done(message: &str) {
    say(&mut stderr(), Kind::Done, message);
}

/// Prints text to be copied, between empty lines.
pub(crate) fn set_apart(text: &str) {
    say(&mut stderr(), Kind::Apart, text);
}

/// Prints a question, without a newline.
pub(crate) fn prompt(question: &str) {
    let mut stderr = stderr();
    say(&mut stderr, Kind::Prompt, question);
    let _ = stderr.flush();
}

/// The kinds of text that this module writes.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Note,
    Done,
    Apart,
    Prompt,
    Progress,
}

/// Writes foreign text, escaped: every kind of notice goes through here.
fn say(out: &mut dyn Write, kind: Kind, text: &str) {
    let visible = sanitize::visible(text);
    // Nothing can be done when stderr is closed.
    let _ = match kind {
        Kind::Note => return labelled(out, ("note:", WARN), text),
        Kind::Done => return labelled(out, ("", Style::new()), text),
        Kind::Apart => writeln!(out, "\n  {visible}\n"),
        // The trailing blank stays: it separates the answer.
        Kind::Prompt => write!(out, "{}", paragraph::lines(&visible, room(0)).join("\n")),
        Kind::Progress => write!(out, "\r\x1b[2K{visible}"),
    };
}

/// Prints a label and a text, wrapped if stderr is a terminal.
fn labelled(out: &mut dyn Write, (label, style): (&str, Style), text: &str) {
    let visible = sanitize::visible(text);
    let text = visible.trim_start_matches(' ');
    let blanks = visible.len() - text.len();
    let indent = if label.is_empty() { 0 } else { label.len() + 1 } + blanks;
    let lines = paragraph::lines(text, room(indent));
    for (index, line) in lines.iter().enumerate() {
        // Ignored: stderr may be closed.
        let _ = match index {
            0 if label.is_empty() => writeln!(out, "{:blanks$}{line}", ""),
            0 => writeln!(out, "{style}{label}{style:#} {:blanks$}{line}", ""),
            _ => writeln!(out, "{:indent$}{line}", ""),
        };
    }
}

/// Returns the columns of the terminal after `indent`; unlimited if stderr is not a terminal.
fn room(indent: usize) -> usize {
    let width = terminal_size::terminal_size_of(io::stderr());
    width.map_or(usize::MAX, |(width, _)| {
        paragraph::room(usize::from(width.0), indent)
    })
}

/// Prints a progress line in place of the last one. An empty text clears the line.
pub(crate) fn progress(text: &str) {
    // Written without the colour filter: the line must be erased with NO_COLOR too.
    let mut stderr = stderr().into_inner();
    say(&mut stderr, Kind::Progress, text);
    let _ = stderr.flush();
}

/// Prints lines while the terminal is in raw mode.
pub(crate) fn on_a_raw_terminal(text: &str) {
    let mut stderr = stderr();
    for line in text.lines() {
        labelled(&mut stderr, ("", Style::new()), line);
    }
}

/// Prints an error of the command line parser, escaped: it repeats arguments.
pub(crate) fn usage(error: &clap::Error) {
    let text = error.render();
    let is_harmless = |line: &str| line.chars().all(sanitize::is_plain);
    let mut stderr = stderr();
    if text.to_string().lines().all(is_harmless) {
        let _ = write!(stderr, "{}", text.ansi());
        return;
    }
    for line in text.to_string().lines() {
        let _ = writeln!(stderr, "{}", sanitize::visible(line));
    }
}

/// Makes panics print escaped text: a panic message repeats values.
pub(crate) fn escape_panics() {
    panic::set_hook(Box::new(|panicked: &PanicHookInfo<'_>| {
        let mut stderr = stderr();
        for line in panicked.to_string().lines() {
            let _ = writeln!(stderr, "vctl: {}", sanitize::visible(line));
        }
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            let _ = writeln!(stderr, "{trace}");
        }
    }));
}

/// Writer for log lines. Each line is written at once.
pub(crate) struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        writeln!(stderr(), "{}", sanitize::visible(text))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Delay before a progress line is shown.
const PATIENCE: Duration = Duration::from_millis(700);

/// Interval of updates of the progress line.
const LOOK: Duration = Duration::from_millis(100);

/// Runs `work`. If it takes long, a progress line on a terminal names the server that it waits for.
pub(crate) async fn waiting<T>(work: impl Future<Output = T>) -> T {
    if !io::stderr().is_terminal() {
        return work.await;
    }
    let mut work = pin!(work);
    loop {
        if let Ok(done) = timeout(LOOK, &mut work).await {
            return done;
        }
        if let Some(what) = waits::untold(PATIENCE) {
            note(&format!("waiting for {what}"));
        }
    }
}

/// Prints the error of a command.
pub(crate) fn error(error: &CliError, format: ErrorFormat) {
    let mut stderr = stderr();
    if format == ErrorFormat::Json {
        let _ = json::write_error(&mut stderr, error);
        return;
    }
    write_error(&mut stderr, error);
}

fn write_error(out: &mut dyn Write, error: &CliError) {
    labelled(out, ("error:", BAD), &sanitize::text(&error.message));
    for cause in &error.causes {
        let plain = Style::new();
        labelled(out, ("  caused by:", plain), &sanitize::text(cause));
    }
    if let Some(hint) = &error.hint {
        labelled(out, ("hint:", BOLD), &sanitize::text(hint));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::exit_code::Exit;

    /// A colour, a cursor movement in one byte, a right-to-left override, an isolate, a bell, and a second line.
    const HOSTILE: &str = "a\u{1b}[31mb\u{9b}2Jc\u{202e}d\u{2066}e\u{7}f\ng\rh";

    fn assert_harmless(what: &str, written: &str) {
        for c in ['\u{9b}', '\u{202e}', '\u{2066}', '\u{7}', '\r'] {
            assert!(!written.contains(c), "{what}: {written:?}");
        }
        // Colours are this module's own, and in another place.
        assert!(!written.contains("\u{1b}[31mb"), "{what}: {written:?}");
        assert!(!written.contains("f\ng"), "{what}: {written:?}");
        assert!(written.contains("\\x1b[31mb"), "{what}: {written:?}");
    }

    #[test]
    fn every_kind_of_notice_escapes_hostile_text() {
        for kind in [
            Kind::Note,
            Kind::Done,
            Kind::Apart,
            Kind::Prompt,
            Kind::Progress,
        ] {
            let mut out = Vec::new();
            say(&mut out, kind, HOSTILE);
            let written = String::from_utf8(out).unwrap();
            let written = written.strip_prefix("\r\x1b[2K").unwrap_or(&written);
            assert_harmless(&format!("{kind:?}"), written);
        }
    }

    #[test]
    fn an_error_its_causes_and_its_hint_are_escaped() {
        let mut error = CliError::new(Exit::Failure, HOSTILE).hint(HOSTILE);
        error.causes.push(HOSTILE.to_owned());
        let mut out = Vec::new();
        write_error(&mut out, &error);
        let written = String::from_utf8(out).unwrap();
        assert_harmless("error", &written);
        assert_eq!(written.matches("\\u202e").count(), 3, "{written}");
    }

    /// Modules that may write to stderr without `notice`: raw terminal, bytes of a session, timing.
    const OTHERS: [&str; 7] = [
        "ui/notice.rs",
        "ui/stderr.rs",
        "process/descriptor.rs",
        "inventory/picker/screen.rs",
        "ssh/session/mod.rs",
        "ssh/session/pipes.rs",
        "main.rs",
    ];

    #[test]
    fn only_this_module_writes_text_to_stderr() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut directories = vec![root.clone()];
        let mut writers = Vec::new();
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                    continue;
                }
                let text = fs::read_to_string(&path).unwrap();
                let rest = text.replace("stderr().is_terminal()", "");
                if rest.contains("stderr()") {
                    let name = path.strip_prefix(&root).unwrap();
                    writers.push(name.to_str().unwrap().to_owned());
                }
            }
        }
        writers.retain(|name| !OTHERS.contains(&&**name));
        assert!(writers.is_empty(), "{writers:?} use `notice` instead");
    }
}
