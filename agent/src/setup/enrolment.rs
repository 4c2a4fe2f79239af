//! The enrolment that `vctl host enroll --out` wrote, and the lines that it needs in agent.yaml.

use std::path::Path;

use serde::Deserialize;
use vctl_common::foreign_file::{self, Pipes};

use super::error::SetupError;
use super::journal::digest;

/// Longest file that is read.
const MOST: u64 = 1 << 16;
const ID_MAX: usize = 512;

/// Members that setup does not need are ignored.
#[derive(Deserialize)]
pub(super) struct Enrolment {
    role_id: String,
    wrapped_secret_id: String,
    /// Lines of agent.yaml: the name of the host, and the addresses of Vault and Postgres.
    agent_config: String,
}

impl Enrolment {
    pub(super) fn read(path: &Path) -> Result<Self, SetupError> {
        let wrong = |why: String| SetupError::Enrolment {
            path: path.display().to_string(),
            why,
        };
        let bytes = foreign_file::read(path, MOST, Pipes::Allowed)
            .map_err(|error| wrong(error.to_string()))?;
        let enrolment: Self =
            serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        let ids = [
            ("role_id", &enrolment.role_id),
            ("wrapped_secret_id", &enrolment.wrapped_secret_id),
        ];
        for (member, id) in ids {
            if id.is_empty() || id.len() > ID_MAX || !id.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(wrong(format!("`{member}` is not one word")));
            }
        }
        Ok(enrolment)
    }

    /// Identifies the enrolment in the journal, without its secret.
    pub(super) fn digest(&self) -> String {
        digest(format!("{}\n{}", self.role_id, self.wrapped_secret_id).as_bytes())
    }

    /// Returns the content of the files with role id and secret id.
    pub(super) fn ids(&self) -> (String, String) {
        (
            format!("{}\n", self.role_id),
            format!("{}\n", self.wrapped_secret_id),
        )
    }

    pub(super) fn wrapped_secret_id(&self) -> &str {
        &self.wrapped_secret_id
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        let lines = self.agent_config.lines();
        lines.filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
    }
}

/// Returns agent.yaml with these lines: a key that the file sets already must have the same value.
pub(super) fn merged(old: &str, lines: &[&str]) -> Result<String, SetupError> {
    let mut text = old.to_owned();
    for line in lines {
        let (key, value) = split(line);
        match old.lines().map(split).find(|(of, _)| *of == key) {
            Some((_, there)) if there == value => {}
            Some((_, there)) => {
                return Err(SetupError::OtherValue {
                    file: "/etc/vctl/agent.yaml",
                    there: format!("{key}: {there}"),
                    needed: (*line).to_owned(),
                });
            }
            None => {
                if !text.is_empty() && !text.ends_with('\n') {
                    text.push('\n');
                }
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    Ok(text)
}

/// Splits a line at the first colon; a nested or commented line has no key of its own.
fn split(line: &str) -> (&str, &str) {
    let (key, value) = line.split_once(':').unwrap_or(("", line));
    if key.starts_with([' ', '\t', '#']) {
        return ("", line);
    }
    let value = value.trim();
    for quote in ['"', '\''] {
        // YAML reads a quoted value as the same text, unless it has a quote or a backslash inside.
        let inside = value
            .strip_prefix(quote)
            .and_then(|rest| rest.split_once(quote));
        if let Some((text, rest)) = inside
            && !text.contains('\\')
            && (rest.is_empty() || rest.trim_start().starts_with('#'))
        {
            return (key.trim_end(), text);
        }
    }
    let value = value.split_once(" #").map_or(value, |(value, _)| value);
    (key.trim_end(), value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_added_once_and_other_values_refused() {
        let lines = ["host: web-1", "db_host: db"];
        let once = merged("# ours\nmode: strict\n", &lines).unwrap();
        assert_eq!(once, "# ours\nmode: strict\nhost: web-1\ndb_host: db\n");
        assert_eq!(merged(&once, &lines).unwrap(), once);
        let spaced = "host:   web-1   # the first\ndb_host: db";
        assert_eq!(merged(spaced, &lines).unwrap(), spaced);
        for quoted in [
            "host: 'web-1'\ndb_host: \"db\"  # 5\n",
            "host : \"web-1\"\ndb_host: db # \"\n",
        ] {
            assert_eq!(merged(quoted, &lines).unwrap(), quoted);
        }
        let other = merged("host: web-2\n", &lines).unwrap_err().to_string();
        assert!(
            other.contains("host: web-2") && other.contains("host: web-1"),
            "{other}"
        );
    }

    #[test]
    fn an_id_of_several_words_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("enrolment.json");
        for (role_id, is_good) in [
            ("3f2a", true),
            ("", false),
            ("a\\nb", false),
            ("a b", false),
        ] {
            let text = format!(
                r#"{{"host":"web-1","role_id":"{role_id}","wrapped_secret_id":"hvs.x","agent_config":"host: web-1\n"}}"#
            );
            std::fs::write(&file, text).unwrap();
            assert_eq!(Enrolment::read(&file).is_ok(), is_good, "{role_id:?}");
        }
    }
}
