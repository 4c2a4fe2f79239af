//! The configuration file: parses YAML text into entries with line numbers.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

use super::value::Raw;

/// One `key: value` of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: u64,
    /// `None` when the value is empty or `~`: the entry then counts as absent.
    pub(super) value: Option<Raw>,
    /// Keys that occur twice in a map within the value.
    pub(super) repeated: Vec<Repeated>,
}

/// A key that occurred in its map before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Repeated {
    pub(super) key: String,
    pub(super) line: u64,
    /// Line of the first occurrence.
    pub(super) first: u64,
}

/// The text does not have the form of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) line: Option<u64>,
    pub(super) message: String,
}

/// Returns the entries of the file in their order; the keys are not checked here.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>, SyntaxError> {
    // A file of comments alone is an empty document: not a mapping, but not a mistake either.
    let entries: Option<Entries> = read(text)?;
    Ok(entries.map(|entries| entries.0).unwrap_or_default())
}

/// Parses a value in one line, such as `[a, {b: c}]`, by the rules of the file.
fn parse_value(text: &str) -> Result<Option<Raw>, SyntaxError> {
    let written = read::<Written>(text)?;
    match written.repeated.first() {
        None => Ok(written.value),
        Some(repeated) => Err(SyntaxError {
            line: None,
            message: format!("`{}` is set twice", repeated.key.escape_debug()),
        }),
    }
}

impl Raw {
    /// Parses YAML in one line, such as `[a, {b: c}]`: the form of lists and maps in the
    /// environment.
    ///
    /// # Errors
    /// The text is not YAML.
    pub fn from_yaml(text: &str) -> Result<Self, String> {
        match parse_value(text) {
            Ok(raw) => Ok(raw.unwrap_or(Self::List(Vec::new()))),
            Err(error) => Err(error.message),
        }
    }
}

fn read<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, SyntaxError> {
    let options = serde_saphyr::options! {
        // Repeated keys are reported below, together with all other errors of the file.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        with_snippet: false,
        // Deeper than any valid value, and shallow enough for any stack.
        budget: serde_saphyr::budget! { max_depth: 32 },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| SyntaxError {
        line: error
            .location()
            .map(|at| at.line())
            .filter(|line| *line > 0),
        message: first_line(&error.to_string()),
    })
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

struct Entries(Vec<Entry>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;

        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("lines of `key: value`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(key) = map.next_key::<Spanned<String>>()? {
                    let Written { value, repeated } = map.next_value::<Written>()?;
                    entries.push(Entry {
                        key: key.value,
                        line: key.referenced.line(),
                        value,
                        repeated,
                    });
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(EntriesVisitor)
    }
}

/// A value before its key has checked it: numbers and booleans are text in the form that was meant.
#[derive(Default)]
struct Written {
    value: Option<Raw>,
    repeated: Vec<Repeated>,
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrittenVisitor)
    }
}

struct WrittenVisitor;

impl<'de> Visitor<'de> for WrittenVisitor {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one value, a list or a map")
    }

    fn visit_unit<E>(self) -> Result<Written, E> {
        Ok(Written::default())
    }

    fn visit_none<E>(self) -> Result<Written, E> {
        Ok(Written::default())
    }

    fn visit_bool<E>(self, value: bool) -> Result<Written, E> {
        Ok(Written::of(Raw::Text(value.to_string())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Written, E> {
        Ok(Written::of(Raw::Text(value.to_string())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Written, E> {
        Ok(Written::of(Raw::Text(value.to_string())))
    }

    fn visit_str<E>(self, value: &str) -> Result<Written, E> {
        Ok(Written::of(Raw::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Written, A::Error> {
        let (mut items, mut repeated) = (Vec::new(), Vec::new());
        while let Some(mut item) = seq.next_element::<Written>()? {
            repeated.append(&mut item.repeated);
            items.push(item.or_empty());
        }
        let value = Some(Raw::List(items));
        Ok(Written { value, repeated })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Written, A::Error> {
        let (mut entries, mut repeated) = (Vec::new(), Vec::new());
        let mut lines: BTreeMap<String, u64> = BTreeMap::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let (name, line) = (key.value, key.referenced.line());
            let mut written = map.next_value::<Written>()?;
            repeated.append(&mut written.repeated);
            if let Some(&first) = lines.get(&name) {
                repeated.push(Repeated {
                    key: name,
                    line,
                    first,
                });
            } else {
                lines.insert(name.clone(), line);
                entries.push((name, written.or_empty()));
            }
        }
        let value = Some(Raw::Map(entries));
        Ok(Written { value, repeated })
    }
}

impl Written {
    fn of(value: Raw) -> Self {
        Self {
            value: Some(value),
            repeated: Vec::new(),
        }
    }

    /// In a list or map, an empty value differs from an absent one, so the key has to check it.
    fn or_empty(self) -> Raw {
        self.value.unwrap_or(Raw::Text(String::new()))
    }
}
