//! Extracts the sentences of a file, by its language: comments and texts without code.

use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// Comments and string literals that contain a blank.
    Rust,
    /// Comments and templates; the strings of the page's script are code or short labels.
    Script,
    /// Lines that begin with `#` after blanks.
    Hash,
    /// From `--` to the end of a line.
    Sql,
    /// All text except code.
    Markdown,
}

impl Language {
    /// Returns `None` for files without sentences of the project.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        // Applied migrations never change, and neither do their comments.
        if path
            .parent()
            .is_some_and(|folder| folder.ends_with("migrations"))
            && path.extension().is_some_and(|sql| sql == "sql")
        {
            return None;
        }
        match path.extension()?.to_str()? {
            "rs" => Some(Self::Rust),
            "js" | "css" | "html" => Some(Self::Script),
            "sh" | "yaml" | "yml" | "toml" | "conf" | "service" | "timer" | "hcl" | "tf" => {
                Some(Self::Hash)
            }
            "sql" => Some(Self::Sql),
            "md" => Some(Self::Markdown),
            _ => None,
        }
    }

    /// Returns the sentences, one after the other, without code spans.
    pub(crate) fn prose(self, text: &str) -> String {
        let prose = match self {
            Self::Rust => rust(text, true),
            Self::Script => rust(text, false),
            Self::Hash => after(text, |line| line.trim_start().strip_prefix('#')),
            Self::Sql => after(text, |line| line.split_once("--").map(|(_, rest)| rest)),
            Self::Markdown => outside_fences(text),
        };
        without_code_spans(&prose)
    }
}

fn after<'a>(text: &'a str, part: impl Fn(&'a str) -> Option<&'a str>) -> String {
    text.lines().filter_map(part).collect::<Vec<_>>().join("\n")
}

fn outside_fences(text: &str) -> String {
    let mut is_code = false;
    let outside = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_fence && !is_code
    });
    outside.collect::<Vec<_>>().join("\n")
}

fn without_code_spans(text: &str) -> String {
    // A span may cross a line break, so only the parity counts.
    text.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

/// Returns comments, and string literals if `strings`. Literals without a blank are keys and names.
fn rust(text: &str, strings: bool) -> String {
    let mut prose = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(comment) = rest.strip_prefix("//") {
            let end = comment.find('\n').unwrap_or(comment.len());
            prose.push_str(comment[..end].trim_start_matches(['/', '!']));
            // Code spans end with their comment: an odd backtick must not hide the text after it.
            prose.push('\n');
            rest = &comment[end..];
        } else if let Some((literal, after)) = string(rest) {
            if strings && literal.contains(' ') {
                prose.push_str(&literal.replace('`', "'").replace("\\n", " "));
                prose.push('\n');
            }
            rest = after;
        } else if let Some(after) = character(rest) {
            rest = after;
        } else {
            rest = &rest[c.len_utf8()..];
        }
    }
    prose
}

/// Splits the string literal, raw or not, at the start of a text.
fn string(text: &str) -> Option<(&str, &str)> {
    if let Some(raw) = text.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let inside = raw[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", &raw[..hashes]);
        let at = inside.find(&end)?;
        return Some((&inside[..at], &inside[at + end.len()..]));
    }
    let inside = text.strip_prefix('"')?;
    let mut is_escaped = false;
    for (at, c) in inside.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return Some((&inside[..at], &inside[at + 1..])),
            _ => {}
        }
    }
    None
}

/// Skips a character literal, which may be a quote; a lifetime is not a literal.
fn character(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('\'')?;
    let length = match inside.strip_prefix('\\') {
        Some(escaped) => 1 + escaped.chars().next()?.len_utf8(),
        None => inside.chars().next()?.len_utf8(),
    };
    inside.get(length..)?.strip_prefix('\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_texts_of_rust_are_read_and_its_code_is_not() {
        let text = "/// A `code` of x.\nfn code(c: char) -> &'static str { c == '\"'; r#\"the \"raw\" text\"# }\nlet key = \"hidden\"; // end\nlet said = \"a \\\"text\\\"\";";
        let prose = Language::Rust.prose(text);
        let words: Vec<_> = prose.split_whitespace().collect();
        assert_eq!(
            words.join(" "),
            "A of x. the \"raw\" text end a \\\"text\\\""
        );
    }

    #[test]
    fn code_of_a_page_is_not_read() {
        let text = "One `code` two\n```sh\nwho\n```\nthree";
        let prose = Language::Markdown.prose(text);
        assert_eq!(
            prose.split_whitespace().collect::<Vec<_>>(),
            ["One", "two", "three"]
        );
    }

    #[test]
    fn comments_of_shell_and_sql_are_read() {
        assert_eq!(Language::Hash.prose("code # x\n  # a b"), " a b");
        assert_eq!(Language::Sql.prose("select code -- a\nfrom b"), " a");
    }
}
