//! Checks how often texts for people contain person pronouns: comments, texts in the code, docs.
//!
//! Sentences with `who` or `nobody` as their subject hide the actor (client, process, server) and have to be read twice.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::sentences;

/// Limit of pronouns per 1,000 words of a group or a page.
const MOST: f64 = 2.0;

/// A smaller text is too short for a rate, so one pronoun is accepted.
const SAMPLE: usize = 500;

const PRONOUNS: &[&str] = &[
    "who",
    "whom",
    "whose",
    "whoever",
    "whomever",
    "somebody",
    "someone",
    "nobody",
    "anybody",
    "anyone",
    "everybody",
    "everyone",
];

/// Words and pronouns of one file, folder or crate.
#[derive(Clone, Copy, Default)]
pub(crate) struct Count {
    words: usize,
    pronouns: usize,
}

impl Count {
    fn of(text: &str) -> Self {
        let mut count = Self::default();
        for word in text.split(|c: char| !c.is_alphanumeric() && c != '\'') {
            // `who's` is `who`, and `host's` is one word.
            let word = word.trim_matches('\'');
            let stem = word.split('\'').next().unwrap_or_default();
            if stem.chars().any(char::is_alphabetic) {
                count.words += 1;
                count.pronouns += usize::from(PRONOUNS.contains(&stem.to_lowercase().as_str()));
            }
        }
        count
    }

    fn add(&mut self, other: Self) {
        self.words += other.words;
        self.pronouns += other.pronouns;
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn rate(self) -> f64 {
        self.pronouns as f64 * 1000.0 / self.words.max(1) as f64
    }

    fn is_too_high(self) -> bool {
        let accepted = usize::from(self.words < SAMPLE);
        self.pronouns > accepted && self.rate() > MOST
    }
}

/// Returns a problem for each crate and for each page above the limit.
pub(crate) fn problems(files: &[PathBuf]) -> Vec<String> {
    let counts = counts(files, group);
    let high = counts.iter().filter(|(_, count)| count.is_too_high());
    high.map(|(group, count)| {
        format!(
            "{group}: {:.1} person pronouns (who, nobody, ...) in 1,000 words, more than {MOST}; `cargo xtask tidy --prose` counts them by folder",
            count.rate()
        )
    })
    .collect()
}

/// Returns a line per folder, the highest rate first.
pub(crate) fn by_folder(files: &[PathBuf]) -> Vec<String> {
    let mut counts: Vec<_> = counts(files, folder).into_iter().collect();
    counts.sort_by(|(_, one), (_, other)| other.rate().total_cmp(&one.rate()));
    let mut all = Count::default();
    let lines = counts.iter().map(|(folder, count)| {
        all.add(*count);
        line(folder, *count)
    });
    let mut lines: Vec<_> = lines.collect();
    lines.push(line("all", all));
    lines
}

fn line(name: &str, count: Count) -> String {
    format!(
        "{:6.1}  {:5} of {:6} words  {name}",
        count.rate(),
        count.pronouns,
        count.words
    )
}

fn counts(files: &[PathBuf], by: fn(&Path) -> String) -> BTreeMap<String, Count> {
    let mut counts = BTreeMap::<_, Count>::new();
    for path in files {
        let Some(language) = sentences::Language::of(path) else {
            continue;
        };
        // This file lists the pronouns.
        let is_list = path.ends_with("xtask/src/prose.rs");
        let Ok(text) = fs::read_to_string(path) else {
            continue;
        };
        if !is_list {
            let count = Count::of(&language.prose(&text));
            counts.entry(by(path)).or_default().add(count);
        }
    }
    counts
}

/// Names a page by its path and any other file by its crate.
fn group(path: &Path) -> String {
    if path.extension().is_some_and(|extension| extension == "md") {
        return path.display().to_string();
    }
    path.iter()
        .next()
        .map_or_else(String::new, |first| format!("{}/", first.to_string_lossy()))
}

/// Names a page by its path and any other file by its folder, at most three deep.
fn folder(path: &Path) -> String {
    if path.extension().is_some_and(|extension| extension == "md") {
        return path.display().to_string();
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    let parts: Vec<_> = parent
        .iter()
        .take(3)
        .map(|part| part.to_string_lossy())
        .collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pronouns_are_counted_and_codes_are_not() {
        let count = Count::of("Who's there? The host's agent, WHOSE name 42 nobody knows.");
        assert_eq!((count.words, count.pronouns), (9, 3));
    }

    #[test]
    fn one_pronoun_in_a_short_page_is_accepted() {
        let short = Count {
            words: 100,
            pronouns: 1,
        };
        assert!(!short.is_too_high());
        assert!(
            Count {
                pronouns: 2,
                ..short
            }
            .is_too_high()
        );
        let long = Count {
            words: 1000,
            pronouns: 2,
        };
        assert!(!long.is_too_high());
        assert!(
            Count {
                pronouns: 3,
                ..long
            }
            .is_too_high()
        );
    }
}
