//! Options that search for programs.

use crate::error::CliError;
use crate::exit_code::Exit;
use crate::session::model::grep::Pattern;
use crate::session::model::program_filter::{Ending, ProgramFilter};

/// Conditions for programs; with any of them, the command shows programs and not sessions.
#[derive(Debug, clap::Args)]
pub(super) struct SearchArgs {
    /// Show only programs with TEXT in their arguments or path (case-sensitive); a space also
    /// matches between two arguments
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["tree", "follow", "html"])]
    grep: Option<String>,

    /// Show only programs of this path: `/usr/bin/*`, or a name in any directory: `passwd`. `*` is any
    /// text, `?` one byte
    #[arg(long, value_name = "GLOB", conflicts_with_all = ["tree", "follow", "html"])]
    path: Option<String>,

    /// Show only programs that ended with this exit status
    #[arg(long, value_name = "STATUS", conflicts_with_all = ["failed", "tree", "follow", "html"])]
    exit: Option<u8>,

    /// Show only programs that failed: exit status not 0, ended by a signal, or not started
    #[arg(long, conflicts_with_all = ["tree", "follow", "html"])]
    failed: bool,

    /// Show only programs that ran as root
    #[arg(long, conflicts_with_all = ["tree", "follow", "html"])]
    root: bool,
}

impl SearchArgs {
    pub(super) fn has_grep(&self) -> bool {
        self.grep.is_some()
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.has_grep() || !self.programs().is_empty()
    }

    /// Returns the pattern to search for; `None` without a condition.
    ///
    /// # Errors
    /// A condition is empty.
    pub(super) fn pattern(&self) -> Result<Option<Pattern>, CliError> {
        for (name, value) in [("grep", &self.grep), ("path", &self.path)] {
            if value.as_deref() == Some("") {
                let error = CliError::new(Exit::Usage, format!("`--{name}` is empty"));
                return Err(error.hint("`vctl session` without it lists all sessions"));
            }
        }
        let pattern = self.grep.as_deref().map_or_else(Pattern::any, Pattern::new);
        Ok(self
            .is_wanted()
            .then(|| pattern.with_programs(self.programs())))
    }

    fn programs(&self) -> ProgramFilter {
        let ending = Ending::of_options(self.exit, self.failed);
        ProgramFilter::new(self.path.as_deref(), ending, self.root)
    }
}
