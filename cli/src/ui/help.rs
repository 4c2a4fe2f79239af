//! The template of each command's `--help`.

/// Examples first: they answer most questions.
pub(crate) const TEMPLATE: &str = "\
{about-with-newline}
{before-help}{usage-heading} {usage}

{all-args}{after-help}";
