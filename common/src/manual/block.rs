//! The parts of a section of a manual page.

/// One part of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// Sentences.
    Paragraph(String),
    /// A command line with its placeholders.
    Usage(String),
    /// A heading within a section.
    Heading(String),
    /// A term and its explanation, which may be empty.
    Item { term: String, text: String },
}
