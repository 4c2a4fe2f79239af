//! One setting, and the table of all of them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::source::Source;
use super::value::Raw;

/// One setting of the struct `C`: its accepted values, and the field that stores it.
pub struct Key<C: 'static> {
    /// Name in the file; the flag and the environment variable are made from it.
    pub name: &'static str,
    /// The type, in words for users.
    pub kind: &'static str,
    /// The default as written in the file; empty when the key has no default.
    pub default: &'static str,
    /// One paragraph of plain text.
    pub doc: &'static str,
    /// Stores the value, or returns what is wrong with it.
    pub set: fn(&mut C, &Raw) -> Result<(), String>,
    pub get: fn(&C) -> Shown,
}

/// The keys of one program, in the order in which they are printed.
pub struct Table<C: 'static> {
    pub keys: &'static [Key<C>],
    /// Returns the environment variables of a key, strongest first.
    pub env: fn(key: &str) -> Vec<String>,
    /// Returns whether a key can be given as `--key`.
    pub has_flag: fn(key: &str) -> bool,
    /// Returns why a key is not accepted from a place, whatever its value.
    pub refuse: fn(key: &str, at: &Source) -> Option<Refusal>,
}

/// Reason why a key is not accepted where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// End of a sentence that begins with the key.
    pub why: String,
    /// Whether the key is accepted there once the user trusts the file.
    pub untrusted: bool,
}

/// A value to print, in a form that lets YAML quote it correctly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    Value(Value),
    /// The value is set, but it is never shown.
    Secret,
    None,
}

/// Defines the key of a field of the configuration, or of a part of it, as in `centre.db_port`:
/// `key! { FIELD: KIND = DEFAULT, READ, SHOW, DOC }`. `READ` parses a [`Raw`], `SHOW` prints the
/// field.
#[macro_export]
macro_rules! key {
    ($name:ident: $($rest:tt)*) => {
        $crate::key!(@ $name [$name] $($rest)*)
    };
    ($part:ident.$name:ident: $($rest:tt)*) => {
        $crate::key!(@ $name [$part.$name] $($rest)*)
    };
    (@ $name:ident [$($field:tt)+] $kind:literal = $default:literal, $read:expr, $show:expr, $doc:literal) => {
        $crate::config::Key {
            name: stringify!($name),
            kind: $kind,
            default: $default,
            doc: $doc,
            set: |config, raw| $crate::config::put(&mut config.$($field)+, ($read)(raw)),
            get: |config| ($show)(&config.$($field)+),
        }
    };
}

impl<C> Key<C> {
    /// Returns whether the flag may stand without a value, which then means `true`.
    pub fn is_switch(&self) -> bool {
        self.kind == "`true` or `false`"
    }

    /// Returns the name of the flag without the leading dashes.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }
}

impl<C> Table<C> {
    /// Returns the key of that name.
    pub fn key(&self, name: &str) -> Option<&'static Key<C>> {
        self.keys.iter().find(|key| key.name == name)
    }

    pub(super) fn index(&self, name: &str) -> Option<usize> {
        self.keys.iter().position(|key| key.name == name)
    }

    /// Returns `blank` with every default of the table set.
    pub fn defaults(&self, blank: C) -> C {
        let mut config = blank;
        for key in self.keys.iter().filter(|key| !key.default.is_empty()) {
            let set = (key.set)(&mut config, &Raw::Text(key.default.to_owned()));
            debug_assert!(set.is_ok(), "default of `{}`: {set:?}", key.name);
        }
        config
    }
}

/// Stores a parsed value in its field, for [`Key::set`].
pub fn put<T>(slot: &mut T, value: Result<T, String>) -> Result<(), String> {
    *slot = value?;
    Ok(())
}

/// Shows a value as text, for [`Key::get`].
pub fn text(value: &(impl ToString + ?Sized)) -> Shown {
    Shown::Value(Value::String(value.to_string()))
}

/// Shows a path as text, for [`Key::get`].
pub fn path(value: &Path) -> Shown {
    text(&value.display())
}

/// As [`text`], for an optional value.
#[allow(clippy::ref_option, reason = "the table passes references to fields")]
pub fn optional<T: ToString>(value: &Option<T>) -> Shown {
    value.as_ref().map_or(Shown::None, text)
}

/// As [`path`], for an optional path.
#[allow(clippy::ref_option, reason = "the table passes references to fields")]
pub fn optional_path(value: &Option<PathBuf>) -> Shown {
    value.as_deref().map_or(Shown::None, path)
}

/// Shows a list of text, for [`Key::get`].
pub fn list(items: &[String]) -> Shown {
    Shown::Value(Value::from(items))
}

/// Shows only whether a secret is set, for [`Key::get`].
#[allow(clippy::ref_option, reason = "the table passes references to fields")]
pub fn secret<T>(value: &Option<T>) -> Shown {
    value.as_ref().map_or(Shown::None, |_| Shown::Secret)
}
