//! The key table as text: effective configuration, reference, example file.

use std::fmt::Write;

use super::keys::{KEYS, Key, Shown};
use super::load::Loaded;

/// Returns the effective configuration as a file that makes the same configuration, with the source
/// of each value beside it.
pub fn effective(loaded: &Loaded) -> String {
    let mut lines = Vec::new();
    for (key, source) in KEYS.iter().zip(&loaded.sources) {
        let line = format!("{}: {}", key.name, yaml((key.get)(&loaded.config)));
        lines.push((line.trim_end().to_owned(), source));
    }
    let width = lines.iter().map(|(line, _)| line.len()).max().unwrap_or(0);
    let mut out = String::new();
    for (line, source) in lines {
        let _ = writeln!(out, "{line:width$}  # {source}");
    }
    out
}

/// Returns `docs/agent-config.md`.
pub fn reference() -> String {
    let mut out = include_str!("reference.head.md").to_owned();
    for key in KEYS {
        let _ = write!(
            out,
            "\n## `{}`\n\n{}\n\n| | |\n| --- | --- |\n| type | {} |\n| default | {} |\n| flag | `--{}` |\n| environment | `{}` |\n",
            key.name,
            key.doc,
            key.kind,
            default(key),
            key.flag(),
            key.env(),
        );
    }
    out
}

/// Returns `deploy/audit/agent.example.yaml`: every key, commented out.
pub fn example() -> String {
    let mut out = include_str!("example.head.yaml").to_owned();
    for key in KEYS {
        out.push('\n');
        for line in wrapped(key.doc) {
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

fn default(key: &Key) -> String {
    if key.default.is_empty() {
        "none".to_owned()
    } else {
        format!("`{}`", key.default)
    }
}

/// Lines of at most 96 characters.
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

fn yaml(value: Shown) -> String {
    match value {
        Shown::Text(text) => scalar(&text),
        Shown::List(items) => {
            let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
            format!("[{}]", items.join(", "))
        }
        Shown::None => String::new(),
    }
}

fn scalar(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-".contains(&b);
    // `null`, `~`, `1e3` and the like mean something else without quotes.
    let special = matches!(
        text.to_ascii_lowercase().as_str(),
        "" | "null" | "nan" | "yes" | "no" | "on" | "y" | "n"
    ) || (text.starts_with(|c: char| !c.is_ascii_alphabetic() && c != '/')
        && text.parse::<crate::config::ByteSize>().is_err());
    if text.bytes().all(plain) && !special {
        text.to_owned()
    } else {
        quoted(text)
    }
}

fn quoted(text: &str) -> String {
    // Every JSON string is a YAML double-quoted one.
    serde_json::Value::from(text).to_string()
}
