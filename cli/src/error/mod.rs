//! The one error of the command line: what failed, why, and the way out.

pub(crate) mod centre;

use std::error::Error;
use std::io;
use std::sync::OnceLock;

use crate::exit_code::Exit;

/// Puts the place that decides a setting into a hint. The configuration knows the places, and its own errors have hints.
static PLACES: OnceLock<fn(&str) -> String> = OnceLock::new();

/// Makes each hint from now on name the place that decides a setting.
pub(crate) fn name_places_by(placed: fn(&str) -> String) {
    PLACES.get_or_init(|| placed);
}

fn placed(hint: &str) -> String {
    PLACES
        .get()
        .map_or_else(|| hint.to_owned(), |placed| placed(hint))
}

/// An error as a person reads it.
#[derive(Clone, Debug)]
pub(crate) struct CliError {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    /// From the outermost to the root.
    pub(crate) causes: Vec<String>,
    /// The next command to run.
    pub(crate) hint: Option<String>,
}

impl CliError {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            causes: Vec::new(),
            hint: None,
        }
    }

    /// The command line was not understood.
    pub(crate) fn usage(error: &clap::Error) -> Self {
        let text = error.to_string();
        let mut paragraphs = text.trim().split("\n\n");
        let message = paragraphs.next().unwrap_or_default();
        let message = message.strip_prefix("error: ").unwrap_or(message);
        Self::new(Exit::Usage, message).hint("`vctl --help`, or the same command with `--help`")
    }

    /// Adds the way out. An environment variable in backticks becomes the place that decides the setting.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(placed(&hint.into()));
        self
    }

    /// Adds `error` and everything it was caused by, each cause once.
    pub(crate) fn caused_by(mut self, error: &dyn Error) -> Self {
        let mut causes = Vec::new();
        let mut cause = Some(error);
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        self.causes.extend(distinct(causes));
        self
    }
}

/// Returns the causes that add something: without those that only name a layer of the HTTP client, and without one
/// that another repeats and continues.
fn distinct(causes: Vec<String>) -> Vec<String> {
    let is_layer = |text: &String| {
        let layers = [
            "error sending request",
            "client error (Connect)",
            "tcp connect error",
            "dns error",
            "error resolving DNS",
            "connection error",
        ];
        layers.contains(&&**text)
    };
    let all_layers = causes.iter().all(is_layer);
    let mut kept: Vec<String> = Vec::new();
    for cause in causes {
        if is_layer(&cause) && !all_layers || kept.iter().any(|before| before.contains(&cause)) {
            continue;
        }
        kept.retain(|before| !cause.contains(before.as_str()));
        kept.push(cause);
    }
    kept
}

/// A command ends with an error, or because nobody reads its output any more.
#[derive(Debug)]
pub(crate) enum Stop {
    Error(CliError),
    /// `vctl session ... | head`: the reader has all it wants, so this is success.
    ReaderGone,
    /// Ctrl-C, or a SIGTERM: nobody wants to hear more.
    Interrupted,
    /// A command that was run for somebody ended with this, and so do we.
    Child(u8),
}

impl From<CliError> for Stop {
    fn from(error: CliError) -> Self {
        Self::Error(error)
    }
}

/// Every `io::Error` that reaches a command by `?` comes from writing its output; reading fails
/// with an error of the store.
impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::ReaderGone;
        }
        CliError::new(Exit::Failure, "cannot write the output")
            .caused_by(&error)
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_no_error() {
        let gone = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(matches!(Stop::from(gone), Stop::ReaderGone));
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(matches!(Stop::from(full), Stop::Error(_)));
    }
}
