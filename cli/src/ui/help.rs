//! The template of the help texts, and access to the whole command line.

use std::sync::OnceLock;

use clap::Command;

/// Template of the help of a command. Examples come first, because they answer most questions.
pub(crate) const TEMPLATE: &str = "\
{about-with-newline}
{before-help}{usage-heading} {usage}

{all-args}{after-help}";

/// Function that builds the whole command line. Commands cannot import `args`, because `args` imports them.
static ROOT: OnceLock<fn() -> Command> = OnceLock::new();

pub(crate) fn set_root(root: fn() -> Command) {
    ROOT.get_or_init(|| root);
}

/// Returns the whole command line.
pub(crate) fn root() -> Command {
    ROOT.get()
        .map_or_else(|| Command::new("vctl"), |root| root())
}
