//! Checks that the specs named in `docs/threat-model.md` exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

const PAGE: &str = "docs/threat-model.md";

/// Returns a problem for each spec on the page that no Rust file defines.
///
/// # Errors
/// The page cannot be read, or names no spec.
pub(crate) fn problems(files: &[PathBuf]) -> Result<Vec<String>> {
    let named = named(&fs::read_to_string(PAGE)?);
    ensure!(!named.is_empty(), "{PAGE} names no spec");
    let mut defined = BTreeSet::new();
    for path in files.iter().filter(|path| is_rust(path)) {
        defined.extend(functions(&fs::read_to_string(path)?));
    }
    let missing = named.iter().filter(|name| !defined.contains(*name));
    Ok(missing
        .map(|name| format!("{PAGE}: no test is named `{name}`"))
        .collect())
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

/// Returns the last cell of each row of a table with `spec` as its last column.
fn named(page: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut in_table = false;
    for line in page.lines() {
        let Some(cells) = line.strip_prefix("| ") else {
            in_table = false;
            continue;
        };
        let cells = cells.trim_end().strip_suffix('|').unwrap_or(cells);
        let last = cells.rsplit('|').next().unwrap_or_default();
        if last.trim() == "spec" {
            in_table = true;
        } else if in_table {
            names.extend(last.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    names
}

/// Returns the functions that a file defines.
fn functions(text: &str) -> Vec<String> {
    let after = text.lines().filter_map(|line| {
        let line = line.trim_start();
        line.strip_prefix("fn ")
            .or_else(|| line.strip_prefix("async fn "))
    });
    after
        .filter_map(|rest| Some(rest.split_once('(')?.0.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_column_spec_names_specs() {
        let page = "| a | result | spec |\n| --- | --- | --- |\n\
                    | `x` | y | `one`, `two` |\n| x | `z` | |\n\n| `q` | r |\n| - | - |\n| a | `b` |\n";
        assert_eq!(named(page), ["one", "two"]);
    }

    #[test]
    fn indented_functions_are_found() {
        assert_eq!(
            functions("    fn a() {\nfn b(x: u8) {}\n// fn c\n"),
            ["a", "b"]
        );
    }
}
