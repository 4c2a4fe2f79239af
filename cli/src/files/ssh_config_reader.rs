//! Lines of ssh_config(5): their words as `ssh` splits them, and the files that `Include` names.

use std::io;
use std::path::{Path, PathBuf};

use vctl_common::foreign_file::{self, Pipes};

/// A limit against a device or an endless pipe.
pub(crate) const MOST: u64 = 64 << 20;

/// The depth at which `ssh` itself stops.
const DEEPEST: usize = 16;

/// The system-wide file.
pub(crate) const SYSTEM: &str = "/etc/ssh/ssh_config";

/// Why a pattern of `Include` may mean files to `ssh` and none here.
pub(crate) const EXPANDED: &str = "it has a token, a variable or the home of another user";

/// A file that `Include` names and that could not be read, with the reason.
pub(crate) type Unread = (PathBuf, String);

/// Reads a file and what it includes, and gives the words of each line to `take`: a keyword and its arguments.
pub(crate) struct Reader<'a> {
    /// The directory for `~`.
    pub(crate) home: &'a Path,
    /// The directory for relative names: `~/.ssh`, or `/etc/ssh` for the system-wide file.
    pub(crate) relative_to: &'a Path,
    /// An included file that is not read.
    pub(crate) but: Option<&'a Path>,
    pub(crate) take: &'a mut dyn FnMut(&Path, &[String]),
    pub(crate) unread: Vec<Unread>,
}

impl Reader<'_> {
    pub(crate) fn read(&mut self, file: &Path) -> io::Result<()> {
        let text = foreign_file::read(file, MOST, Pipes::Allowed)?;
        self.lines(&text, file, 1);
        Ok(())
    }

    fn lines(&mut self, text: &[u8], file: &Path, depth: usize) {
        // `ssh` refuses such a file: asked about one of its hosts, it says why.
        let text = foreign_file::without_mark(text);
        for line in text.split(|&byte| byte == b'\n') {
            let words = words(line);
            let Some((keyword, patterns)) = words.split_first() else {
                continue;
            };
            if keyword.eq_ignore_ascii_case("include") && depth < DEEPEST {
                for pattern in patterns {
                    self.include(pattern, depth);
                }
            }
            (self.take)(file, &words);
        }
    }

    fn include(&mut self, pattern: &str, depth: usize) {
        let (base, pattern) = match pattern.strip_prefix("~/") {
            Some(rest) => (self.home, rest),
            None => (self.relative_to, pattern),
        };
        // An absolute pattern replaces the directory.
        let path = base.join(pattern);
        let Some(paths) = path.to_str().and_then(|path| glob::glob(path).ok()) else {
            self.unread
                .push((path, "is no pattern of files".to_owned()));
            return;
        };
        let mut paths = paths.flatten().peekable();
        if paths.peek().is_none() && pattern.contains(['~', '$', '%']) {
            self.unread.push((path, EXPANDED.to_owned()));
        }
        for path in paths {
            if self.but.is_some_and(|but| but == path) {
                continue;
            }
            match foreign_file::read(&path, MOST, Pipes::Refused) {
                Ok(text) => self.lines(&text, &path, depth + 1),
                Err(error) => self.unread.push((path, error.to_string())),
            }
        }
    }
}

/// Returns the words of a line as ssh has them: a keyword, perhaps `=`, and words that may be quoted. A byte that
/// is not UTF-8 is a character that no host has.
pub(crate) fn words(line: &[u8]) -> Vec<String> {
    // ssh works on a string of C: the line ends at a NUL.
    let line = line.split(|&byte| byte == 0).next().unwrap_or_default();
    let line = line.trim_ascii();
    // One `=` is a blank also in front of the keyword.
    let line = line.strip_prefix(b"=").unwrap_or(line).trim_ascii_start();
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
    // One `=` may stand for a blank.
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

/// Returns the first argument, and what follows it. A backslash takes its meaning from a quote, a backslash
/// and, between quotes aside, a blank.
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

/// Returns what stands before the first byte that ends it, and the rest.
fn split(text: &[u8], ends: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = text.iter().position(|&byte| ends(byte));
    text.split_at(end.unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_ssh_reads_it() {
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
            (b" = Host web", "web"),
            (b"Host we\"b\"", "web"),
            (b"Host a\\ b", "a b"),
            (b"Host web\0 other", "web"),
            (b"Host web # b\xfcro", "web"),
        ] {
            assert_eq!(words(line), ["Host", expected], "{line:?}");
        }
        // Neither is a blank to ssh.
        assert_eq!(words("Host web\u{a0}x".as_bytes()), ["Host", "web\u{a0}x"]);
        assert_eq!(words(b"Host web\x0bx").len(), 2);
    }
}
