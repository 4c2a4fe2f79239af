//! One setting, and the table of all of them.

use serde_json::Value;

use super::value::Raw;

/// One setting of the struct `C`: what a person may write, and where it goes.
pub struct Key<C: 'static> {
    /// Name in the file; the flag and the environment variable are made from it.
    pub name: &'static str,
    /// The type, in words for people.
    pub kind: &'static str,
    /// The default, as one would write it; empty for none.
    pub default: &'static str,
    /// One paragraph of plain text.
    pub doc: &'static str,
    /// May stand as a bare flag, which then means `true`.
    pub switch: bool,
    /// Takes the value, or says what is wrong with it.
    pub set: fn(&mut C, &Raw) -> Result<(), String>,
    pub get: fn(&C) -> Shown,
}

/// The keys of one program, in the order of what is printed.
pub struct Table<C: 'static> {
    pub keys: &'static [Key<C>],
    /// Environment variables of a key, strongest first.
    pub env: fn(key: &str) -> Vec<String>,
    /// Whether a key can be given as `--key`.
    pub has_flag: fn(key: &str) -> bool,
    /// Why a key may not be written at a place, whatever its value.
    pub refuse: fn(key: &str, at: &super::Source) -> Option<Refusal>,
}

/// Why a key may not stand where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Ends the sentence that the key begins.
    pub why: String,
    /// It may stand there once the person trusts the file.
    pub untrusted: bool,
}

/// A value on its way out, still knowing how YAML has to write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    Value(Value),
    /// There is one, and nobody is shown it.
    Secret,
    None,
}

impl<C> Key<C> {
    /// Without the leading dashes.
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

    /// Returns `blank` with every default of the table.
    pub fn defaults(&self, blank: C) -> C {
        let mut config = blank;
        for key in self.keys.iter().filter(|key| !key.default.is_empty()) {
            let set = (key.set)(&mut config, &Raw::Text(key.default.to_owned()));
            debug_assert!(set.is_ok(), "default of `{}`: {set:?}", key.name);
        }
        config
    }
}

/// Puts a value where it belongs, for [`Key::set`].
pub fn put<T>(slot: &mut T, value: Result<T, String>) -> Result<(), String> {
    *slot = value?;
    Ok(())
}

/// Shows a value as it is written, for [`Key::get`].
pub fn text(value: &(impl ToString + ?Sized)) -> Shown {
    Shown::Value(Value::String(value.to_string()))
}

/// As [`text`], for a key that may have no value.
pub fn text_or_none<T: ToString>(value: Option<T>) -> Shown {
    value.map_or(Shown::None, |value| text(&value))
}

/// Shows a list of text, for [`Key::get`].
pub fn list(items: &[String]) -> Shown {
    Shown::Value(Value::from(items))
}

/// Shows that there is a value, for [`Key::get`].
pub fn secret<T>(value: Option<&T>) -> Shown {
    value.map_or(Shown::None, |_| Shown::Secret)
}
