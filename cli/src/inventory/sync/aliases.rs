//! The host names in an ssh_config and its included files.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::ssh_config_reader::{Reader, Unread};

/// The content of the files that `ssh -G` does not report.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Aliases {
    /// Names without wildcards, in the order of the files, without duplicates.
    pub(crate) names: Vec<String>,
    /// All users in the files: `ssh -G` prints a user even if the files set none.
    pub(crate) users: BTreeSet<String>,
    /// Files that could not be read, with the reason.
    pub(crate) unread: Vec<Unread>,
    /// Files with a `Match exec`, whose command ssh runs.
    pub(crate) run_commands: Vec<PathBuf>,
}

/// Reads `file` and its includes. `home` replaces `~`; relative names are below `.ssh` in `home`.
pub(crate) fn read(file: &Path, home: &Path) -> io::Result<Aliases> {
    let mut aliases = Aliases::default();
    let mut reader = Reader {
        home,
        relative_to: &home.join(".ssh"),
        but: None,
        take: &mut |file, words| aliases.take(file, words),
        unread: Vec::new(),
    };
    reader.read(file)?;
    aliases.unread = reader.unread;
    Ok(aliases)
}

impl Aliases {
    fn take(&mut self, file: &Path, words: &[String]) {
        let Some((keyword, words)) = words.split_first() else {
            return;
        };
        match &*keyword.to_ascii_lowercase() {
            "host" => {
                for name in words.iter().filter(|name| !name.contains(['*', '?', '!'])) {
                    if !self.names.contains(name) {
                        self.names.push(name.clone());
                    }
                }
            }
            "user" => self.users.extend(words.iter().cloned()),
            "match"
                if words.iter().any(|word| is_exec(word))
                    && self.run_commands.last().is_none_or(|last| last != file) =>
            {
                self.run_commands.push(file.to_owned());
            }
            _ => {}
        }
    }
}

/// Returns whether a word of a `Match` line is the criterion `exec`, which may have a `!` or `=`.
fn is_exec(word: &str) -> bool {
    let word = word.trim_start_matches('!').to_ascii_lowercase();
    word.split('=').next() == Some("exec")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_match_exec_is_reported() {
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
    fn names_come_from_all_included_files_once() {
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
