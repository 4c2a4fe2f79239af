//! The error type of the command line: message, causes and hint.

pub(crate) mod centre;

use std::error::Error;
use std::io;
use std::sync::OnceLock;

use crate::exit_code::Exit;

/// Function that adds the place of a setting to a hint. The module `config` provides it, but also uses this module.
static PLACES: OnceLock<fn(&str) -> String> = OnceLock::new();

/// Sets the function that adds the place of a setting to each hint.
pub(crate) fn name_places_by(placed: fn(&str) -> String) {
    PLACES.get_or_init(|| placed);
}

fn placed(hint: &str) -> String {
    PLACES
        .get()
        .map_or_else(|| hint.to_owned(), |placed| placed(hint))
}

/// An error for the user.
#[derive(Clone, Debug)]
pub(crate) struct CliError {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    /// Causes, the root cause last.
    pub(crate) causes: Vec<String>,
    /// The next step, if possible a command.
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

    /// An error of the command line parser.
    pub(crate) fn usage(error: &clap::Error) -> Self {
        let text = error.to_string();
        let mut paragraphs = text.trim().split("\n\n");
        let message = paragraphs.next().unwrap_or_default();
        let message = message.strip_prefix("error: ").unwrap_or(message);
        Self::new(Exit::Usage, message).hint("`vctl --help`, or the same command with `--help`")
    }

    /// Adds a hint. An environment variable in backticks becomes the place that sets the value.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(placed(&hint.into()));
        self
    }

    /// Returns the message and its causes for a note, separated by colons.
    pub(crate) fn one_line(&self) -> String {
        let mut line = self.message.clone();
        for cause in &self.causes {
            line.push_str(": ");
            line.push_str(cause);
        }
        line
    }

    /// Adds `error` and its causes, each cause once.
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

/// Returns the causes that add information. Left out are layers of the HTTP client, and a cause that is the
/// beginning of another one.
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

/// A reason to end a command early.
#[derive(Debug)]
pub(crate) enum Stop {
    Error(CliError),
    /// The reader of a pipe has exited, as in `vctl session ... | head`: this is success.
    ReaderGone,
    /// Ctrl-C or SIGTERM: no message is needed.
    Interrupted,
    /// The exit status of a command that vctl ran, to exit with.
    Child(u8),
}

impl From<CliError> for Stop {
    fn from(error: CliError) -> Self {
        Self::Error(error)
    }
}

/// Every `io::Error` that a command passes on with `?` comes from writing output: reading has its own error
/// types.
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
    fn one_line_has_each_cause_once() {
        let error = CliError::new(Exit::Failure, "cannot store the token");
        assert_eq!(error.one_line(), "cannot store the token");
        let error = error.caused_by(&io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(error.one_line(), "cannot store the token: no storage space");
    }

    #[test]
    fn a_closed_pipe_is_not_an_error() {
        let gone = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(matches!(Stop::from(gone), Stop::ReaderGone));
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(matches!(Stop::from(full), Stop::Error(_)));
    }
}
