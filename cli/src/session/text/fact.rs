//! One line of a session's header.

/// One line of the header, with escaped text.
pub(crate) struct HeaderFact {
    pub(crate) name: &'static str,
    pub(crate) text: String,
    /// Shown as a warning.
    pub(crate) warns: bool,
}

impl HeaderFact {
    pub(crate) fn new(name: &'static str, text: String) -> Self {
        let warns = false;
        Self { name, text, warns }
    }

    pub(crate) fn warning(name: &'static str, text: String) -> Self {
        let warns = true;
        Self { name, text, warns }
    }
}
