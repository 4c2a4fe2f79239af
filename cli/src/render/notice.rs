//! Talk beside the data, on stderr.

use std::io::{IsTerminal as _, Write as _};
use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

use super::{BAD, BOLD, WARN, json, sanitize};
use crate::args::Output;
use crate::error::CliError;

/// Says something the reader should know and no script should parse.
pub(crate) fn note(message: &str) {
    // Nothing can be done when stderr is closed.
    let _ = writeln!(anstream::stderr().lock(), "{WARN}note:{WARN:#} {message}");
}

/// Says that what was asked for is done.
pub(crate) fn done(message: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{message}");
}

/// Shows a line that somebody else wrote.
pub(crate) fn quote(line: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{}", sanitize::text(line));
}

/// Asks on the terminal, and returns whether the answer begins with `y`.
pub(crate) fn ask(question: &str) -> bool {
    let mut stderr = anstream::stderr();
    let _ = write!(stderr, "{question} [y/N] ");
    let _ = stderr.flush();
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    read.is_ok() && answer.trim_start().starts_with(['y', 'Y'])
}

/// How long a person looks at a silent terminal before wondering.
const PATIENCE: Duration = Duration::from_millis(700);

/// Does `work`; on a terminal, says what it waits for when that takes long.
pub(crate) async fn waiting_for<T>(what: &str, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    if let Ok(done) = timeout(PATIENCE, &mut work).await {
        return done;
    }
    if std::io::stderr().is_terminal() {
        note(&format!("waiting for {what}"));
    }
    work.await
}

/// Says why the command failed.
pub(crate) fn error(error: &CliError, reader: Output) {
    let mut stderr = anstream::stderr().lock();
    if reader == Output::Json {
        let _ = json::write_error(&mut stderr, error);
        return;
    }
    let _ = writeln!(
        stderr,
        "{BAD}error:{BAD:#} {}",
        sanitize::text(&error.message)
    );
    for cause in &error.causes {
        let _ = writeln!(stderr, "  caused by: {}", sanitize::text(cause));
    }
    if let Some(hint) = &error.hint {
        let hint = sanitize::text(hint);
        let _ = writeln!(stderr, "{BOLD}hint:{BOLD:#} {hint}");
    }
}
