//! The host names in an ssh_config and its included files.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use vctl_common::foreign_file::{self, Pipes};

/// Maximum size of a file.
pub(crate) const MOST: u64 = 64 << 20;

/// Maximum depth of includes, as in ssh.
const DEEPEST: usize = 16;

/// The content of the files that `ssh -G` does not report.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Aliases {
    /// Names without wildcards, in the order of the files, without duplicates.
    pub(crate) names: Vec<String>,
    /// All users in the files: `ssh -G` prints a user even if the files set none.
    pub(crate) users: BTreeSet<String>,
    /// Files that could not be read, with the reason.
    pub(crate) unread: Vec<(PathBuf, String)>,
    /// Files with a `Match exec`, whose command ssh runs.
    pub(crate) run_commands: Vec<PathBuf>,
}

/// Reads `file` and its includes. `home` replaces `~`; relative names are below `.ssh` in `home`.
pub(crate) fn read(file: &Path, home: &Path) -> io::Result<Aliases> {
    let mut aliases = Aliases::default();
    let text = foreign_file::read(file, MOST, Pipes::Allowed)?;
    aliases.take(&text, file, home, 1);
    Ok(aliases)
}

impl Aliases {
    fn take(&mut self, text: &[u8], file: &Path, home: &Path, depth: usize) {
        for line in text.split(|&byte| byte == b'\n') {
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
            // `join` leaves an absolute path unchanged.
            None => home.join(".ssh").join(pattern),
        };
        let Some(paths) = path.to_str().and_then(|path| glob::glob(path).ok()) else {
            self.unread
                .push((path, "is not a valid file pattern".to_owned()));
            return;
        };
        for path in paths.flatten() {
            match foreign_file::read(&path, MOST, Pipes::Refused) {
                Ok(text) => self.take(&text, &path, home, depth + 1),
                Err(error) => self.unread.push((path, error.to_string())),
            }
        }
    }
}

/// Returns whether a word of a `Match` line is the criterion `exec`, which may have a `!` or `=`.
fn is_exec(word: &str) -> bool {
    let word = word.trim_start_matches('!').to_ascii_lowercase();
    word.split('=').next() == Some("exec")
}

/// Splits a line into words like ssh: a keyword, an optional `=`, and words that may be quoted. Bytes that are
/// not UTF-8 become a character that no host name has.
fn words(line: &[u8]) -> Vec<String> {
    // ssh uses C strings: a NUL ends the line.
    let line = line.split(|&byte| byte == 0).next().unwrap_or_default();
    let line = line.trim_ascii();
    let (keyword, rest) = match line.strip_prefix(b"\"") {
        Some(quoted) => split(quoted, |byte| byte == b'"'),
        None => split(line, |byte| {
            byte.is_ascii_whitespace() || byte == b'=' || byte == b'"'
        }),
    };
    let rest = match (line.first(), rest) {
        (Some(b'"'), [b'"', rest @ ..]) => rest,
        _ => rest,
    };
    if keyword.is_empty() || keyword.starts_with(b"#") {
        return Vec::new();
    }
    let rest = rest.trim_ascii_start();
    // A `=` may replace the blank.
    let mut rest = rest.strip_prefix(b"=").unwrap_or(rest);
    let mut words = vec![String::from_utf8_lossy(keyword).into_owned()];
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() || rest.starts_with(b"#") {
            return words;
        }
        let (word, after) = argument(rest);
        words.push(String::from_utf8_lossy(&word).into_owned());
        rest = after;
    }
}

/// Returns the first argument, and the rest. A backslash escapes a quote, a backslash and, outside of quotes,
/// a blank.
fn argument(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let (mut word, mut quote, mut at) = (Vec::new(), None, 0);
    while let Some(&byte) = text.get(at) {
        let next = text.get(at + 1);
        match (byte, quote) {
            (b'\\', _) if next.is_some_and(|next| b"'\"\\".contains(next)) => {
                word.extend(next);
                at += 1;
            }
            (b'\\', None) if next == Some(&b' ') => {
                word.push(b' ');
                at += 1;
            }
            (b'\'' | b'"', None) => quote = Some(byte),
            (byte, Some(end)) if byte == end => quote = None,
            (byte, None) if is_blank(byte) => break,
            (byte, _) => word.push(byte),
        }
        at += 1;
    }
    (word, &text[at.min(text.len())..])
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Splits a text before the first byte for which `ends` is true.
fn split(text: &[u8], ends: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = text.iter().position(|&byte| ends(byte));
    text.split_at(end.unwrap_or(text.len()))
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
    fn a_line_is_parsed_like_ssh() {
        assert_eq!(
            words("  Host web-1 web-2 # both".as_bytes()),
            ["Host", "web-1", "web-2"]
        );
        assert_eq!(words("Host=web".as_bytes()), ["Host", "web"]);
        assert_eq!(words("Host = \"a b\" c".as_bytes()), ["Host", "a b", "c"]);
        assert_eq!(words("SetEnv A=b".as_bytes()), ["SetEnv", "A=b"]);
        assert_eq!(words("# Host x".as_bytes()), [""; 0]);
        assert_eq!(words("".as_bytes()), [""; 0]);
        for (line, expected) in [
            (&b"Host\tweb\r"[..], "web"),
            (b"\"Host\" web \x0c", "web"),
            (b"Host 'web'", "web"),
            (b"Host we\"b\"", "web"),
            (b"Host a\\ b", "a b"),
            (b"Host web\0 other", "web"),
            (b"Host web # b\xfcro", "web"),
        ] {
            assert_eq!(words(line), ["Host", expected], "{line:?}");
        }
        // ssh treats neither as a blank.
        assert_eq!(words("Host web\u{a0}x".as_bytes()), ["Host", "web\u{a0}x"]);
        assert_eq!(words(b"Host web\x0bx").len(), 2);
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
