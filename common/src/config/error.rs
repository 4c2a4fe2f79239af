//! Problems of a configuration.

use std::io;
use std::path::PathBuf;

use super::source::Source;

/// One problem, and the place where it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {what}")]
pub struct Problem {
    pub at: Source,
    pub what: String,
    /// Whether the value may be correct but its file is not trusted.
    pub untrusted: bool,
}

impl Problem {
    pub fn new(at: Source, what: impl Into<String>) -> Self {
        Self {
            at,
            what: what.into(),
            untrusted: false,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Other users can write the file, so they would decide about the program.
    #[error("`{}` {why}", path.display())]
    Unsafe { path: PathBuf, why: &'static str },
    /// All problems, so that the user can correct them in one step.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
