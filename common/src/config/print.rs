//! Prints the key table: the effective configuration, the reference, and an example file.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::key::{Key, Shown, Table};
use super::load::Loaded;
use super::source::{Origin, Source};
use super::value::ByteSize;

impl<C: 'static> Loaded<C> {
    /// Returns the effective configuration as a file that would result in the same configuration,
    /// with the source of each value. A secret is shown as a comment.
    pub fn effective(&self) -> String {
        let mut out = String::new();
        for (line, source) in self.effective_lines() {
            let _ = writeln!(out, "{line}  # {source}");
        }
        out
    }

    /// Returns the lines of [`effective`](Self::effective), padded to one width, and the source of
    /// each. All characters in a line are visible.
    pub fn effective_lines(&self) -> Vec<(String, &Source)> {
        let line = |key: &Key<C>| match (key.get)(&self.config) {
            Shown::Value(value) => format!("{}: {}", key.name, yaml(&value)),
            Shown::Secret => format!("#{}: ***", key.name),
            Shown::None => format!("{}:", key.name),
        };
        let lines: Vec<String> = self.table.keys.iter().map(line).collect();
        // One long value must not move all sources off the screen.
        let lengths = lines.iter().map(String::len);
        let width = lengths.filter(|length| *length <= 72).max().unwrap_or(0);
        let padded = lines.iter().map(|line| format!("{line:width$}"));
        padded.zip(&self.sources).collect()
    }

    /// Returns the effective configuration as an object: for each key its `value` and `source`.
    /// A secret is `"***"`.
    pub fn effective_json(&self) -> Value {
        let keys = self.table.keys.iter().zip(&self.sources);
        let entries = keys.map(|(key, source)| {
            let value = match (key.get)(&self.config) {
                Shown::Value(value) => value,
                Shown::Secret => Value::from("***"),
                Shown::None => Value::Null,
            };
            let entry = json!({ "value": value, "source": source.to_string() });
            (key.name.to_owned(), entry)
        });
        Value::Object(entries.collect::<Map<_, _>>())
    }
}

impl<C> Table<C> {
    /// Returns the reference in Markdown: `head`, then a section for each key.
    pub fn reference(&self, head: &str) -> String {
        let mut out = head.to_owned();
        for key in self.keys {
            let _ = write!(
                out,
                "\n## `{}`\n\n{}\n\n| | |\n| --- | --- |\n| type | {} |\n| default | {} |\n",
                key.name,
                key.doc,
                key.kind,
                default(key),
            );
            if (self.has_flag)(key.name) {
                let _ = writeln!(out, "| flag | `--{}` |", key.flag());
            }
            let env: Vec<String> = (self.env)(key.name)
                .iter()
                .map(|name| format!("`{name}`"))
                .collect();
            let _ = writeln!(out, "| environment | {} |", env.join(", then "));
            match self.files_of(key.name) {
                Files::Any => {}
                Files::Trusted => {
                    out.push_str(
                        "| file | in the file of a directory, only after it is trusted |\n",
                    );
                }
                Files::None => out.push_str("| file | none |\n"),
            }
        }
        out
    }

    /// Returns an example file: `head`, then all keys that a file accepts, commented out.
    pub fn example(&self, head: &str) -> String {
        let mut out = head.to_owned();
        for key in self.keys {
            let note = match self.files_of(key.name) {
                Files::Any => "",
                Files::Trusted => " In the file of a directory, only after it is trusted.",
                Files::None => continue,
            };
            out.push('\n');
            for line in wrapped(&[key.doc, note].concat()) {
                let _ = writeln!(out, "# {line}");
            }
            let value = match key.kind {
                "list of text" => "[]",
                _ => key.default,
            };
            out.push_str(format!("#{}: {value}", key.name).trim_end());
            out.push('\n');
        }
        out
    }

    fn files_of(&self, key: &str) -> Files {
        let refused = |origin| {
            let at = Source::File {
                path: PathBuf::new(),
                line: 0,
                origin,
            };
            (self.refuse)(key, &at).is_some()
        };
        match (refused(Origin::Own), refused(Origin::Directory)) {
            (true, _) => Files::None,
            (false, true) => Files::Trusted,
            (false, false) => Files::Any,
        }
    }
}

/// Files that accept a key.
enum Files {
    Any,
    /// The user's own files, and files of a directory that the user trusts.
    Trusted,
    None,
}

fn default<C>(key: &Key<C>) -> String {
    if key.default.is_empty() {
        "none".to_owned()
    } else {
        format!("`{}`", key.default)
    }
}

/// Returns lines of at most 96 characters.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let full = lines
            .last()
            .is_some_and(|line| line.len() + 1 + word.len() > 96);
        if full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// Writes a value in one line.
fn yaml(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        other => flow(other),
    }
}

fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(flow).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(entries) => {
            let entries = entries.iter();
            let entries: Vec<String> = entries
                .map(|(key, value)| format!("{key}: {}", flow(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

fn scalar(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-".contains(&b);
    // Without quotes, `null`, `~`, `1e3` and the like have another meaning.
    let special = matches!(
        text.to_ascii_lowercase().as_str(),
        "" | "null" | "nan" | "yes" | "no" | "on" | "y" | "n"
    ) || (text.starts_with(|c: char| !c.is_ascii_alphabetic() && c != '/')
        && text.parse::<ByteSize>().is_err());
    if text.bytes().all(plain) && !special {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// Returns the text in double quotes and in ASCII. Characters that a terminal or a reader could
/// take for something else are escaped.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        let _ = match c {
            '"' | '\\' => write!(out, "\\{c}"),
            ' '..='~' => write!(out, "{c}"),
            c => write!(out, "\\U{:08x}", u32::from(c)),
        };
    }
    out.push('"');
    out
}
