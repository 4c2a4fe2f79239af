//! Types of values, with their parsing and printing.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Gives a fieldless enum its names, for both directions, and an error that lists them.
#[macro_export]
macro_rules! value_names {
    ($type:ident { $($name:literal => $variant:ident),+ $(,)? }) => {
        impl ::std::str::FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(format!("`{text}` is not one of {}", [$(concat!("`", $name, "`")),+].join(", "))),
                }
            }
        }

        impl ::std::fmt::Display for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(match self { $(Self::$variant => $name),+ })
            }
        }
    };
}

/// A number of bytes, written as `65536`, `64KiB`, `16MiB`, `1GiB` or `2TiB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const UNITS: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

impl ByteSize {
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, unit) = UNITS
            .iter()
            .find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))
            .unwrap_or((text, 1));
        let digits = digits.trim_end_matches(' ');
        // `u64::from_str` accepts a sign, and `1GB` must not silently mean about 1 GiB.
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!(
                "`{text}` is not a size such as `64KiB`, `1GiB` or `65536`"
            ));
        }
        digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(unit))
            .map(Self)
            .ok_or_else(|| format!("`{text}` is more than 64 bits can count"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS
            .iter()
            .find(|(_, unit)| self.0 > 0 && self.0.is_multiple_of(*unit))
        {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A length of time, written as `90s`, `30m`, `12h` or `7d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

const SPANS: [(&str, u64); 4] = [("d", 86400), ("h", 3600), ("m", 60), ("s", 1)];

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = SPANS.iter().find_map(|(name, unit)| {
            let digits = text.strip_suffix(name)?;
            let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            let number: u64 = is_number.then(|| digits.parse().ok())??;
            number.checked_mul(*unit)
        });
        parsed
            .map(|seconds| Self(Duration::from_secs(seconds)))
            .ok_or_else(|| {
                format!("`{text}` is not a duration such as `90s`, `30m`, `12h` or `7d`")
            })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let fits = |(_, unit): &&(&str, u64)| seconds > 0 && seconds.is_multiple_of(*unit);
        match SPANS.iter().find(fits) {
            Some((name, unit)) => write!(f, "{}{name}", seconds / unit),
            None => write!(f, "{seconds}s"),
        }
    }
}

/// A value as written, before its key has checked it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raw {
    Text(String),
    List(Vec<Raw>),
    Map(Vec<(String, Raw)>),
}

impl Raw {
    /// # Errors
    /// It is not a single value, or not of the type.
    pub fn one<T: FromStr<Err: fmt::Display>>(&self) -> Result<T, String> {
        match self {
            Self::Text(text) => text
                .trim()
                .parse()
                .map_err(|error: T::Err| error.to_string()),
            Self::List(_) => Err("a single value is needed, not a list".to_owned()),
            Self::Map(_) => Err("a single value is needed, not a map".to_owned()),
        }
    }

    /// As [`one`](Self::one), for a key without a default.
    pub fn some<T: FromStr<Err: fmt::Display>>(&self) -> Result<Option<T>, String> {
        self.one().map(Some)
    }

    /// Returns whether a replacement character stands for bytes that are not UTF-8.
    pub(super) fn has_replacement(&self) -> bool {
        match self {
            Self::Text(text) => text.contains(char::REPLACEMENT_CHARACTER),
            Self::List(items) => items.iter().any(Self::has_replacement),
            Self::Map(entries) => entries.iter().any(|(_, value)| value.has_replacement()),
        }
    }

    pub fn boolean(&self) -> Result<bool, String> {
        let text: String = self.one()?;
        text.parse()
            .map_err(|_| format!("`{text}` is neither `true` nor `false`"))
    }

    /// Items of a list: a YAML sequence in the file, separated by commas elsewhere.
    pub fn list(&self) -> Result<Vec<String>, String> {
        let items: Vec<String> = match self {
            Self::Text(text) => text.split(',').map(|item| item.trim().to_owned()).collect(),
            Self::List(items) => items.iter().map(Self::item).collect::<Result<_, _>>()?,
            Self::Map(_) => return Err("a list is needed, not a map".to_owned()),
        };
        if items.iter().any(String::is_empty) {
            return Err("a list item is empty".to_owned());
        }
        Ok(items)
    }

    fn item(&self) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::List(_) | Self::Map(_) => Err("a list item is not a single value".to_owned()),
        }
    }

    /// Returns a path that does not depend on the working directory.
    pub fn absolute_path(&self) -> Result<PathBuf, String> {
        let text: String = self.one()?;
        let path = PathBuf::from(&text);
        if path.is_absolute() {
            Ok(path)
        } else {
            Err(format!("`{text}` is not an absolute path"))
        }
    }

    /// As [`absolute_path`](Self::absolute_path), for a key without a default.
    pub fn some_absolute_path(&self) -> Result<Option<PathBuf>, String> {
        self.absolute_path().map(Some)
    }

    pub fn size_within(&self, least: ByteSize, most: ByteSize) -> Result<ByteSize, String> {
        let size: ByteSize = self.one()?;
        if (least..=most).contains(&size) {
            Ok(size)
        } else {
            Err(format!("`{size}` is outside `{least}` to `{most}`"))
        }
    }
}
