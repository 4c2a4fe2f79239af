//! The files of an audit log, and the signatures in them.

mod model;
mod signings;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub(crate) use model::{AuditLog, LogFile, LogQuery, Unreadable};

use self::signings::Signings;
use super::entry::{self, Entry};
use super::lines::{Line, Lines};
use super::model::{Place, Span};
use super::problem::{Problem, no_entries};
use super::progress::Progress;
use super::source;
use crate::error::CliError;

/// Checks the files before any is read, so that a missing one is reported before a large one is read.
///
/// # Errors
/// A file cannot be opened.
pub(crate) fn check(files: &[PathBuf]) -> Result<(), CliError> {
    files.iter().try_for_each(|path| source::check(path))
}

/// Reads the files.
///
/// # Errors
/// A file cannot be opened, or has no entry of an audit log.
pub(crate) fn read(query: &LogQuery) -> Result<AuditLog, CliError> {
    let mut reader = LogReader {
        query,
        log: AuditLog::default(),
        signings: Signings::default(),
        cut_off: Vec::new(),
    };
    for index in 0..query.files.len() {
        reader.read_file(index)?;
    }
    Ok(reader.finish())
}

struct LogReader<'a> {
    query: &'a LogQuery,
    log: AuditLog,
    signings: Signings,
    /// The last lines of files, if they are incomplete.
    cut_off: Vec<Unreadable>,
}

impl LogReader<'_> {
    fn read_file(&mut self, index: usize) -> Result<(), CliError> {
        let path = &self.query.files[index];
        let opened = source::open(path)?;
        let mut progress = Progress::new(&source::name(path), opened.size, opened.read);
        self.log.files.push(LogFile {
            name: source::name(path),
            lines: 0,
            entries: 0,
            span: None,
        });
        let mut first_problem = None;
        let mut lines = Lines::new(opened.input);
        loop {
            let problem = match lines.next() {
                Ok(None) => break,
                Ok(Some(line)) => match self.read_line(index, &line) {
                    Ok(()) => {
                        progress.step();
                        continue;
                    }
                    Err(problem) => problem,
                },
                Err(error) => Problem::Rest(error.to_string()),
            };
            let is_over = matches!(problem, Problem::Rest(_));
            let unreadable = Unreadable {
                place: Place {
                    file: index,
                    line: self.log.files[index].lines + u64::from(is_over),
                },
                reason: problem.to_string(),
            };
            if matches!(problem, Problem::LastLine(_)) {
                self.cut_off.push(unreadable);
            } else {
                self.log.note_unreadable(unreadable);
            }
            first_problem.get_or_insert(problem);
            if is_over {
                break;
            }
        }
        progress.finish();
        let file = &self.log.files[index];
        match first_problem {
            Some(problem) if file.entries == 0 => Err(no_entries(&file.name, file.lines, &problem)),
            _ => Ok(()),
        }
    }

    fn read_line(&mut self, file: usize, line: &Line<'_>) -> Result<(), Problem> {
        self.log.files[file].lines += 1;
        let (bytes, is_last) = match *line {
            Line::TooLong => {
                return Err(Problem::Line("the line is longer than 64 MiB".to_owned()));
            }
            Line::Text {
                bytes,
                is_last_without_newline,
            } => (bytes, is_last_without_newline),
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let problem = |reason: String| {
            if is_last {
                Problem::LastLine(reason)
            } else {
                Problem::Line(reason)
            }
        };
        let entry = entry::parse(bytes).map_err(|error| problem(error.to_string()))?;
        let at = match &entry {
            Entry::Signing(signing) => signing.at,
            Entry::Other { at } => *at,
        };
        let Some(at) = at else {
            return Err(problem("the entry has no time that can be read".to_owned()));
        };
        let file_read = &mut self.log.files[file];
        let line = file_read.lines;
        file_read.entries += 1;
        let span = file_read.span.get_or_insert(Span { from: at, to: at });
        (span.from, span.to) = (span.from.min(at), span.to.max(at));
        if let Entry::Signing(signing) = entry {
            let place = Place { file, line };
            self.signings
                .take(&mut self.log, self.query, &signing, at, place);
        }
        Ok(())
    }

    fn finish(self) -> AuditLog {
        let mut log = self.log;
        let end = |place: Place| log.files[place.file].span.map(|span| span.to);
        let newest = log
            .files
            .iter()
            .filter_map(|file| file.span)
            .map(|span| span.to)
            .max();
        let (newest, older): (Vec<_>, Vec<_>) = self
            .cut_off
            .into_iter()
            .partition(|cut| end(cut.place) == newest);
        log.cut_off = newest.into_iter().next();
        for cut in older {
            log.note_unreadable(cut);
        }
        self.signings.finish(&mut log);
        log
    }
}
