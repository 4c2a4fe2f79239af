//! The help of every command: its template, and the command line that it describes.

use std::sync::OnceLock;

use clap::Command;

/// Examples first: they answer most questions.
pub(crate) const TEMPLATE: &str = "\
{about-with-newline}
{before-help}{usage-heading} {usage}

{all-args}{after-help}";

/// Builds the whole command line. A command that prints or completes it must not import it: it is one of its parts.
static ROOT: OnceLock<fn() -> Command> = OnceLock::new();

pub(crate) fn set_root(root: fn() -> Command) {
    ROOT.get_or_init(|| root);
}

/// Returns the whole command line.
pub(crate) fn root() -> Command {
    ROOT.get()
        .map_or_else(|| Command::new("vctl"), |root| root())
}
