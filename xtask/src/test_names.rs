//! Checks the length of test names: a name is one clause, and the reason is in the test.

use std::fs;
use std::path::PathBuf;

const MOST: usize = 60;

/// Returns a problem for each test with a longer name.
pub(crate) fn problems(files: &[PathBuf]) -> Vec<String> {
    let sources = files
        .iter()
        .filter(|path| path.extension().is_some_and(|rs| rs == "rs"));
    let long = sources.flat_map(|path| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let long = names(&text).into_iter().filter(|name| name.len() > MOST);
        long.map(|name| {
            format!(
                "{}: the name of the test `{name}` has {} characters, more than {MOST}",
                path.display(),
                name.len()
            )
        })
        .collect::<Vec<_>>()
    });
    long.collect()
}

/// Returns the functions below an attribute that ends with `test]` or begins a parametrized test.
fn names(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, after)) = line.split_once("fn ").filter(|_| is_test) {
            let name = after
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next();
            names.extend(name.map(str::to_owned));
            is_test = false;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tests_have_short_names() {
        let text =
            "#[test]\n#[ignore]\nfn one() {}\nfn two() {}\n#[tokio::test(x)]\nasync fn three() {}";
        assert_eq!(names(text), ["one", "three"]);
    }
}
