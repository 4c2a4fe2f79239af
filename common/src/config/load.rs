//! Merges all sources of settings into one configuration that records the source of each value.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use super::error::{ConfigError, Problem};
use super::file;
use super::key::{Key, Refusal, Table};
use super::source::{Origin, Source};
use super::suggest::closest;
use super::text::{ConfigFile, FileText, Need, read};
use super::value::Raw;

/// Sources of values, besides the defaults.
pub struct Inputs<'a> {
    /// Key name and text of each flag given.
    pub flags: &'a [(String, String)],
    /// Looks up one environment variable; an empty value counts as not set.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// Weakest file first.
    pub files: &'a [ConfigFile],
}

/// A configuration, and the source of each key in the order of the table.
#[derive(Clone)]
pub struct Loaded<C: 'static> {
    pub config: C,
    pub sources: Vec<Source>,
    pub table: &'static Table<C>,
    /// Files that exist but could not be read, each with the reason.
    pub passed_over: Vec<String>,
}

impl<C: 'static> Loaded<C> {
    /// Returns the source of a key's value; for an unknown name, the default.
    pub fn source_of(&self, key: &str) -> &Source {
        let source = self.table.index(key).and_then(|i| self.sources.get(i));
        source.unwrap_or(&Source::Default)
    }

    /// Returns whether a file of the working directory decided the value of a key.
    pub fn is_from_directory(&self, key: &str) -> bool {
        matches!(
            self.source_of(key),
            Source::File {
                origin: Origin::Trusted | Origin::Directory,
                ..
            }
        )
    }
}

impl<C: fmt::Debug> fmt::Debug for Loaded<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("config", &self.config)
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}

impl<C> Table<C> {
    /// Returns the configuration that results from `start`, which holds the defaults, and the
    /// inputs.
    ///
    /// # Errors
    /// A named file that does not exist, a file that cannot be trusted, invalid YAML, an unknown
    /// key, a value that its key does not accept, a key in a place that does not accept it.
    pub fn load(&'static self, start: C, inputs: &Inputs<'_>) -> Result<Loaded<C>, ConfigError> {
        let (loaded, problems) = self.merge(start, inputs)?;
        if problems.is_empty() {
            Ok(loaded)
        } else {
            Err(ConfigError::Invalid(problems))
        }
    }

    /// As [`load`](Self::load), but returns the valid values together with the problems.
    ///
    /// # Errors
    /// A file that cannot be read or trusted.
    pub fn merge(
        &'static self,
        start: C,
        inputs: &Inputs<'_>,
    ) -> Result<(Loaded<C>, Vec<Problem>), ConfigError> {
        let mut problems = Vec::new();
        let mut passed_over = Vec::new();
        let written = self.written(inputs, &mut problems, &mut passed_over)?;
        let (mut loaded, mut problems) = self.settled(start, written, problems);
        loaded.passed_over = passed_over;
        let paths: Vec<&Path> = inputs.files.iter().map(|file| &*file.path).collect();
        problems.sort_by_key(|problem| problem.at.place(&paths));
        Ok((loaded, problems))
    }

    /// As [`merge`](Self::merge), for the text of one file alone.
    pub fn merge_text(
        &'static self,
        start: C,
        path: &Path,
        origin: Origin,
        text: &FileText,
    ) -> (Loaded<C>, Vec<Problem>) {
        let (mut written, mut problems) = (Vec::new(), Vec::new());
        self.written_in(path, origin, text, &mut written, &mut problems);
        let (loaded, mut problems) = self.settled(start, written, problems);
        problems.sort_by_key(|problem| problem.at.place(&[path]));
        (loaded, problems)
    }

    fn settled(
        &'static self,
        start: C,
        written: Vec<(Source, String, Raw)>,
        mut problems: Vec<Problem>,
    ) -> (Loaded<C>, Vec<Problem>) {
        let mut config = start;
        let mut sources = vec![Source::Default; self.keys.len()];
        for (at, name, raw) in written {
            let Some(index) = self.index(&name) else {
                problems.push(Problem::new(at, self.unknown(&name)));
                continue;
            };
            if let Some(Refusal { why, untrusted }) = (self.refuse)(&name, &at) {
                problems.push(Problem {
                    at,
                    what: format!("`{name}` {why}"),
                    untrusted,
                });
                continue;
            }
            match set(&mut config, &self.keys[index], &raw) {
                Ok(()) => sources[index] = at,
                Err(what) => problems.push(Problem::new(at, what)),
            }
        }
        let loaded = Loaded {
            config,
            sources,
            table: self,
            passed_over: Vec::new(),
        };
        (loaded, problems)
    }

    /// Returns all values that were written, weakest first: later ones override.
    fn written(
        &self,
        inputs: &Inputs<'_>,
        problems: &mut Vec<Problem>,
        passed_over: &mut Vec<String>,
    ) -> Result<Vec<(Source, String, Raw)>, ConfigError> {
        let mut all = Vec::new();
        for file in inputs.files {
            match read(file) {
                Ok(Some(text)) => {
                    let origin = (file.origin)(&file.path, &text.bytes);
                    self.written_in(&file.path, origin, &text, &mut all, problems);
                }
                Ok(None) => {}
                Err(ConfigError::Unreadable { path, source }) if file.need == Need::IfReadable => {
                    passed_over.push(format!("cannot read `{}`: {source}", path.display()));
                }
                Err(error) => return Err(error),
            }
        }
        for key in self.keys {
            let mut names = (self.env)(key.name).into_iter();
            let set = names.find_map(|name| {
                let value = (inputs.env)(&name).filter(|text| !text.is_empty())?;
                Some((Source::Env(name), value))
            });
            let Some((at, value)) = set else { continue };
            if let Ok(text) = value.into_string() {
                all.push((at, key.name.to_owned(), Raw::Text(text)));
            } else {
                let what = format!("value of `{}`: not UTF-8", key.name);
                problems.push(Problem::new(at, what));
            }
        }
        for (name, text) in inputs.flags {
            let flag = Source::Flag(name.replace('_', "-"));
            all.push((flag, name.clone(), Raw::Text(text.clone())));
        }
        Ok(all)
    }

    fn written_in(
        &self,
        path: &Path,
        origin: Origin,
        text: &FileText,
        all: &mut Vec<(Source, String, Raw)>,
        problems: &mut Vec<Problem>,
    ) {
        let at = |line| Source::File {
            path: path.to_owned(),
            line,
            origin,
        };
        if text.is_utf16() {
            problems.push(Problem::new(at(1), "the file is UTF-16: save it as UTF-8"));
            return;
        }
        let (text, is_utf8) = text.decoded();
        let entries = match file::parse(&text) {
            Ok(entries) => entries,
            Err(error) => {
                problems.push(Problem::new(at(error.line.unwrap_or(1)), error.message));
                return;
            }
        };
        let mut lines: BTreeMap<String, u64> = BTreeMap::new();
        for entry in entries {
            for repeated in entry.repeated {
                let what = twice(&repeated.key, repeated.first);
                problems.push(Problem::new(at(repeated.line), what));
            }
            if let Some(&first) = lines.get(&entry.key) {
                let what = twice(&entry.key, first);
                problems.push(Problem::new(at(entry.line), what));
            } else {
                lines.insert(entry.key.clone(), entry.line);
            }
            // Comments may hold any bytes.
            if !is_utf8 && entry.value.as_ref().is_some_and(Raw::has_replacement) {
                let what = format!("value of `{}`: not UTF-8", entry.key.escape_debug());
                problems.push(Problem::new(at(entry.line), what));
                continue;
            }
            // An unknown key is a mistake with or without a value.
            match entry.value {
                Some(raw) => all.push((at(entry.line), entry.key, raw)),
                None if self.key(&entry.key).is_none() => {
                    all.push((at(entry.line), entry.key, Raw::Text(String::new())));
                }
                None => {}
            }
        }
    }

    fn unknown(&self, name: &str) -> String {
        let shown = name.escape_debug();
        match closest(name, self.keys.iter().map(|key| key.name)) {
            Some(key) => format!("unknown key `{shown}` (did you mean `{key}`?)"),
            None => format!("unknown key `{shown}`"),
        }
    }
}

fn twice(key: &str, first: u64) -> String {
    let key = key.escape_debug();
    format!("`{key}` is already set in line {first}: remove one of the two")
}

fn set<C>(config: &mut C, key: &Key<C>, raw: &Raw) -> Result<(), String> {
    (key.set)(config, raw).map_err(|why| format!("value of `{}`: {why}", key.name))
}
