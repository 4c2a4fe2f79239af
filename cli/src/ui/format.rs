//! The output formats of `-o`.

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};

/// The format of an error on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorFormat {
    /// One line of text
    Text,
    /// One JSON object
    Json,
}

/// The output format of a command, `-o`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Table for people; also accepted as `text`
    #[default]
    #[value(alias = "text")]
    Table,
    /// Table with all columns
    Wide,
    /// One JSON document
    Json,
    /// One JSON object a line
    Jsonl,
    /// The same document as YAML
    Yaml,
    /// Comma-separated lines below a heading; text is escaped as in the table
    Csv,
    /// Only the names, one a line, for the next command
    Name,
}

impl OutputFormat {
    /// The formats of a command that prints a single document.
    pub(crate) const OF_DOCUMENT: &[Self] =
        &[Self::Table, Self::Wide, Self::Json, Self::Jsonl, Self::Yaml];

    /// Returns a parser for these formats, which lists them in an error.
    pub(crate) fn among(forms: &[Self]) -> impl TypedValueParser<Value = Self> {
        let values = forms.iter().filter_map(ValueEnum::to_possible_value);
        let values: Vec<_> = values.collect();
        PossibleValuesParser::new(values)
            .map(|text| <Self as ValueEnum>::from_str(&text, false).unwrap_or_default())
    }

    /// Returns the word on the command line.
    pub(crate) fn word(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    pub(crate) fn is_for_people(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}
