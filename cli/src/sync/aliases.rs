//! The names of hosts in an ssh_config and what it includes.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// As ssh itself allows.
const DEEPEST: usize = 16;

/// What is read of the files themselves.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Aliases {
    /// Names without wildcards, in the order of the files, each once.
    pub(crate) names: Vec<String>,
    /// Every user that is named somewhere: `ssh -G` says one also where nobody is.
    pub(crate) users: BTreeSet<String>,
    /// Files that could not be read, with the reason.
    pub(crate) unread: Vec<(PathBuf, String)>,
    /// Files with a `Match exec`: ssh runs its command to read them.
    pub(crate) run_commands: Vec<PathBuf>,
}

/// Reads `file` and what it includes; `home` is for `~`, and relative names are below its `.ssh`.
pub(crate) fn read(file: &Path, home: &Path) -> io::Result<Aliases> {
    let mut aliases = Aliases::default();
    let text = std::fs::read_to_string(file)?;
    aliases.take(&text, file, home, 1);
    Ok(aliases)
}

impl Aliases {
    fn take(&mut self, text: &str, file: &Path, home: &Path, depth: usize) {
        for line in text.lines() {
            let mut words = words(line).into_iter();
            let Some(keyword) = words.next() else {
                continue;
            };
            match &*keyword.to_ascii_lowercase() {
                "host" => {
                    for name in words.filter(|name| !name.contains(['*', '?', '!'])) {
                        if !self.names.contains(&name) {
                            self.names.push(name);
                        }
                    }
                }
                "user" => self.users.extend(words),
                "match"
                    if words.any(|word| is_exec(&word))
                        && self.run_commands.last().is_none_or(|last| last != file) =>
                {
                    self.run_commands.push(file.to_owned());
                }
                "include" if depth < DEEPEST => {
                    words.for_each(|pattern| self.include(&pattern, home, depth));
                }
                _ => {}
            }
        }
    }

    fn include(&mut self, pattern: &str, home: &Path, depth: usize) {
        let path = match pattern.strip_prefix("~/") {
            Some(rest) => home.join(rest),
            // An absolute one stays as it is.
            None => home.join(".ssh").join(pattern),
        };
        let Some(paths) = path.to_str().and_then(|path| glob::glob(path).ok()) else {
            self.unread
                .push((path, "is no pattern of files".to_owned()));
            return;
        };
        for path in paths.flatten() {
            match std::fs::read_to_string(&path) {
                Ok(text) => self.take(&text, &path, home, depth + 1),
                Err(error) => self.unread.push((path, error.to_string())),
            }
        }
    }
}

/// Says whether a word of a `Match` line is its criterion `exec`, which may be negated or have a `=`.
fn is_exec(word: &str) -> bool {
    let word = word.trim_start_matches('!').to_ascii_lowercase();
    word.split('=').next() == Some("exec")
}

/// Returns the words of a line as ssh has them: a keyword, perhaps `=`, and words that may be quoted.
fn words(line: &str) -> Vec<String> {
    let line = line.trim();
    if line.starts_with('#') {
        return Vec::new();
    }
    let (mut words, mut word, mut quoted, mut begun) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        // The first `=` may stand for a blank.
        let parts =
            c.is_whitespace() || (c == '=' && words.len() < 2 && (words.is_empty() || !begun));
        match c {
            '"' => (quoted, begun) = (!quoted, true),
            _ if parts && !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            '#' if !quoted && !begun => break,
            c => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_whose_match_runs_a_command_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        for (line, runs) in [
            ("Match exec \"touch x\"", true),
            ("match host a !EXEC true", true),
            ("Match exec=\"touch x\"", true),
            ("Match=exec true", true),
            ("Match host exec.example", false),
            ("# Match exec true", false),
            ("Host exec", false),
        ] {
            std::fs::write(&file, line).unwrap();
            let aliases = read(&file, dir.path()).unwrap();
            assert_eq!(!aliases.run_commands.is_empty(), runs, "{line}");
        }
    }

    #[test]
    fn a_line_is_read_as_ssh_reads_it() {
        assert_eq!(
            words("  Host web-1 web-2 # both"),
            ["Host", "web-1", "web-2"]
        );
        assert_eq!(words("Host=web"), ["Host", "web"]);
        assert_eq!(words("Host = \"a b\" c"), ["Host", "a b", "c"]);
        assert_eq!(words("SetEnv A=b"), ["SetEnv", "A=b"]);
        assert_eq!(words("# Host x"), [""; 0]);
        assert_eq!(words(""), [""; 0]);
    }

    #[test]
    fn names_come_from_every_file_that_is_included_once_each() {
        let home = tempfile::tempdir().unwrap();
        let ssh = home.path().join(".ssh");
        std::fs::create_dir_all(ssh.join("conf.d")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(ssh.join(name), text).unwrap();
        write(
            "config",
            "Include conf.d/*.conf nowhere\nHOST web web-? !no *\nUser deploy\nInclude config\n",
        );
        write("conf.d/a.conf", "Host = db\nInclude ~/.ssh/deep\n");
        write("conf.d/b.conf", "Host web\n  User=root\n");
        write("deep", "Match host x\n  Include deeper\nHost \"jump\"\n");
        write("deeper", "Host inner");
        let aliases = read(&ssh.join("config"), home.path()).unwrap();
        assert_eq!(aliases.names, ["db", "inner", "jump", "web"]);
        assert_eq!(Vec::from_iter(aliases.users), ["deploy", "root"]);
        assert_eq!(aliases.unread, []);
    }
}
