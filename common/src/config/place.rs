//! Hints that name the place of a setting instead of its environment variable.

use std::fmt::Write as _;

use super::key::{Shown, Table};
use super::load::Loaded;
use super::source::Source;

impl<C> Loaded<C> {
    /// Returns the hint with each environment variable in backticks replaced by the flag, or the
    /// line of the file, that now decides the setting. A variable that is not set stays, and the
    /// default in force is added if the hint is about the current value.
    pub fn placed(&self, hint: &str) -> String {
        let mut text = String::with_capacity(hint.len());
        let mut parts = hint.split('`').peekable();
        let mut is_code = false;
        while let Some(part) = parts.next() {
            let closed = parts.peek().is_some();
            match self.key_of(part).filter(|_| is_code && closed) {
                Some(index) => self.place(index, part, &mut text),
                None if is_code => {
                    text.push('`');
                    text.push_str(part);
                    if closed {
                        text.push('`');
                    }
                }
                None => text.push_str(part),
            }
            is_code = !is_code;
        }
        text
    }

    fn key_of(&self, variable: &str) -> Option<usize> {
        let Table { keys, env, .. } = self.table;
        let names = |name| env(name).iter().any(|env| env == variable);
        keys.iter().position(|key| names(key.name))
    }

    fn place(&self, index: usize, variable: &str, text: &mut String) {
        let key = &self.table.keys[index];
        // The hint asks for a new value, so the old one does not matter.
        let is_to_be_set = ["set ", " in ", "with ", "name of "]
            .iter()
            .any(|before| text.ends_with(before));
        // Writing to a `String` cannot fail.
        let _ = match self.sources.get(index) {
            Some(Source::Env(name)) => write!(text, "`{name}`"),
            Some(flag @ Source::Flag(_)) => write!(text, "`{flag}`"),
            Some(file @ Source::File { .. }) => write!(text, "`{}` in {file}", key.name),
            _ => match (key.get)(&self.config) {
                Shown::Value(value) if !is_to_be_set => {
                    let value = value.as_str().map_or(value.to_string(), str::to_owned);
                    write!(text, "`{variable}` (not set; the default is `{value}`)")
                }
                _ => write!(text, "`{variable}`"),
            },
        };
    }
}
