//! The forms of output: `-o`.

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};

/// The reader of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// People
    Table,
    /// Programs
    Json,
}

/// The form of what is read: `ui::records`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people; `text` is the same
    #[default]
    #[value(alias = "text")]
    Table,
    /// For people, with every column
    Wide,
    /// One document
    Json,
    /// One object a line
    Jsonl,
    /// The document of `json`, as YAML
    Yaml,
    /// With a heading; text is escaped as in the table
    Csv,
    /// What the next command is to be given, one a line
    Name,
}

impl Form {
    /// The forms of a single document.
    pub(crate) const OF_DOCUMENT: &[Self] =
        &[Self::Table, Self::Wide, Self::Json, Self::Jsonl, Self::Yaml];

    /// Returns a parser that takes these forms, and names them where it is given another.
    pub(crate) fn among(forms: &[Self]) -> impl TypedValueParser<Value = Self> {
        let values = forms.iter().filter_map(ValueEnum::to_possible_value);
        let values: Vec<_> = values.collect();
        PossibleValuesParser::new(values)
            .map(|text| <Self as ValueEnum>::from_str(&text, false).unwrap_or_default())
    }

    /// Returns the word for it on the command line.
    pub(crate) fn word(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    pub(crate) fn is_for_people(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}
