//! Splits a command string into words as a shell does, without removing quotes.
//!
//! A quote may be escaped any number of times, as in `sh -c "sh -c \"a 'b c'\""`. An opening quote
//! is closed by the same quote with the same number of backslashes. So the inside of a quoted word
//! can be split again by the same rules.
//!
//! The crate shlex was considered: it removes quotes and returns new text, but masking needs the
//! positions in the original, also in damaged text.
use memchr::memchr;

use super::masker::{Span, step};

/// The next piece of a command string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A word with its quotes.
    Word(Span),
    /// `;`, `&`, a newline, a parenthesis or a backtick: another command starts.
    Break,
    /// `|`: another command starts and reads the output of this one.
    Pipe,
    /// `<<<`: the next word is the standard input of this command.
    HereString,
}

/// Quotes that are escaped more deeply count as plain bytes.
const MAX_ESCAPES: usize = 7;

/// Reads one command string; `bytes` is the whole buffer, so spans are positions in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Splitter {
    at: usize,
    end: usize,
    quotes: Quotes,
}

impl Splitter {
    pub(super) fn new(span: Span) -> Self {
        Self {
            at: span.start,
            end: span.end,
            quotes: Quotes::default(),
        }
    }

    /// Returns whether only blanks follow on this line.
    pub(super) fn ends_line(&self, bytes: &[u8]) -> bool {
        let rest = bytes.get(self.at..self.end).unwrap_or_default();
        rest.iter()
            .find(|byte| !matches!(byte, b' ' | b'\t' | b'\r'))
            .is_none_or(|&byte| byte == b'\n')
    }

    /// Returns the start of the next piece.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn next(&mut self, bytes: &[u8]) -> Option<Piece> {
        loop {
            let byte = *bytes.get(self.at).filter(|_| self.at < self.end)?;
            let next = bytes
                .get(self.at + 1)
                .copied()
                .filter(|_| self.at + 1 < self.end)
                .unwrap_or(0);
            match (byte, next) {
                (b'<', b'<') if bytes.get(self.at + 2) == Some(&b'<') => {
                    self.at = (self.at + 3).min(self.end);
                    return Some(Piece::HereString);
                }
                // Only the `&` of a redirection matters: it does not end the command.
                (b'\\', b'\n') | (b'<' | b'>', b'&') | (b'&', b'>') => self.at += 2,
                (b' ' | b'\t' | b'\r' | b'<' | b'>', _) => self.at += 1,
                (b'|', b'|') | (b'&', b'&') => {
                    self.at += 2;
                    return Some(Piece::Break);
                }
                (b'|', _) => {
                    self.at += 1;
                    return Some(Piece::Pipe);
                }
                _ if is_break(byte) => {
                    self.at += 1;
                    return Some(Piece::Break);
                }
                _ => return Some(Piece::Word(self.word(bytes))),
            }
        }
    }

    fn word(&mut self, bytes: &[u8]) -> Span {
        let start = self.at;
        while let Some(&byte) = bytes.get(self.at).filter(|_| self.at < self.end) {
            match byte {
                b'\\' | b'\'' | b'"' => {
                    if byte == b'\\' && bytes.get(self.at + 1) == Some(&b'\n') {
                        break;
                    }
                    self.at = self.after_quote(bytes, self.at);
                }
                b' ' | b'\t' | b'\r' | b'|' | b'<' | b'>' => break,
                _ if is_break(byte) => break,
                _ => self.at += 1,
            }
        }
        Span::new(start, self.at)
    }

    /// Returns the end of the quoted part or of the escaped byte at `at`.
    fn after_quote(&mut self, bytes: &[u8], at: usize) -> usize {
        match (
            self.quotes.part(bytes, at, self.end),
            Quote::read(bytes, at, self.end),
        ) {
            (Some(part), _) => part.end,
            (None, Some(alone)) => at + alone.len(),
            (None, None) => (at + 2).min(self.end),
        }
    }
}

/// A quoted part of a word: the text between its quotes, and the end of the closing one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) inside: Span,
    pub(super) end: usize,
}

/// Finds quoted parts from left to right.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Quotes {
    /// Kinds of quotes without a partner in the rest. Without this, a text with many apostrophes
    /// would be searched to its end for each of them.
    unpaired: u32,
}

impl Quotes {
    /// Returns the quoted part that starts at `at`.
    pub(super) fn part(&mut self, bytes: &[u8], at: usize, end: usize) -> Option<Part> {
        let opening = Quote::read(bytes, at, end)?;
        if self.unpaired & opening.bit() != 0 {
            return None;
        }
        let inside = at + opening.len();
        let Some(close) = opening.close(bytes, inside, end) else {
            self.unpaired |= opening.bit();
            return None;
        };
        Some(Part {
            inside: Span::new(inside, close - opening.len()),
            end: close,
        })
    }
}

fn is_break(byte: u8) -> bool {
    matches!(byte, b';' | b'&' | b'\n' | b'(' | b')' | b'`')
}

/// A quote character with the backslashes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quote {
    mark: u8,
    escapes: usize,
}

impl Quote {
    /// Returns the quote at `at`, with its backslashes.
    pub(super) fn read(bytes: &[u8], at: usize, end: usize) -> Option<Self> {
        let window = bytes.get(at..end.min(at + MAX_ESCAPES + 1))?;
        let escapes = window.iter().position(|&byte| byte != b'\\')?;
        let mark = *window.get(escapes)?;
        matches!(mark, b'\'' | b'"').then_some(Self { mark, escapes })
    }

    pub(super) fn len(self) -> usize {
        self.escapes + 1
    }

    pub(super) fn is_single(self) -> bool {
        self.mark == b'\''
    }

    /// Returns the end of the partner; the search starts right after the opening quote.
    pub(super) fn close(self, bytes: &[u8], inside: usize, end: usize) -> Option<usize> {
        let mut from = inside;
        loop {
            let rest = bytes.get(from..end)?;
            let Some(at) = memchr(self.mark, rest).map(|at| from + at) else {
                step(rest.len());
                return None;
            };
            step(at - from);
            let escapes = bytes
                .get(inside..at)?
                .iter()
                .rev()
                .take_while(|&&byte| byte == b'\\')
                .count();
            let closes = match (self.escapes, self.mark) {
                (0, b'\'') => true,
                (0, _) => escapes % 2 == 0,
                (own, _) => own == escapes,
            };
            if closes {
                return Some(at + 1);
            }
            from = at + 1;
        }
    }

    fn bit(self) -> u32 {
        let kind = if self.is_single() { 0 } else { MAX_ESCAPES + 1 };
        1 << (kind + self.escapes.min(MAX_ESCAPES))
    }
}

/// Returns the inside of a span that is one quoted part from end to end, and its quote.
pub(super) fn unquoted(bytes: &[u8], span: Span) -> Option<(Span, Quote)> {
    let quote = Quote::read(bytes, span.start, span.end)?;
    let inside = span.start + quote.len();
    let end = quote.close(bytes, inside, span.end)?;
    (end == span.end).then(|| (Span::new(inside, end - quote.len()), quote))
}

#[cfg(test)]
mod tests {
    use super::{Piece, Span, Splitter, unquoted};

    fn words(text: &str) -> Vec<&str> {
        let mut splitter = Splitter::new(Span::new(0, text.len()));
        let mut found = Vec::new();
        while let Some(piece) = splitter.next(text.as_bytes()) {
            found.push(match piece {
                Piece::Word(span) => &text[span.range()],
                Piece::Break => ";",
                Piece::Pipe => "|",
                Piece::HereString => "<<<",
            });
        }
        found
    }

    #[test]
    fn quotes_and_escaped_spaces_keep_a_word_together() {
        assert_eq!(
            words(r#"a 'b c' d\ e "f \" g""#),
            ["a", "'b c'", r"d\ e", r#""f \" g""#]
        );
    }

    #[test]
    fn escaped_quotes_pair_with_their_own_depth() {
        assert_eq!(
            words(r#"sh -c \"x 'y z'\" w"#),
            ["sh", "-c", r#"\"x 'y z'\""#, "w"]
        );
        assert_eq!(
            words(r#"a \"b \\\"c d\\\" e\" f"#),
            ["a", r#"\"b \\\"c d\\\" e\""#, "f"]
        );
    }

    #[test]
    fn an_apostrophe_without_partner_is_a_letter() {
        assert_eq!(words("don't --token x"), ["don't", "--token", "x"]);
    }

    #[test]
    fn operators_end_a_command_and_redirections_do_not() {
        assert_eq!(
            words("a;b|c&&d 2>&1 e<<<f"),
            ["a", ";", "b", "|", "c", ";", "d", "2", "1", "e", "<<<", "f"]
        );
    }

    #[test]
    fn only_a_word_quoted_from_end_to_end_is_unquoted() {
        let text = r#""a b""#;
        assert_eq!(
            unquoted(text.as_bytes(), Span::new(0, text.len()))
                .map(|(span, _)| &text[span.range()]),
            Some("a b")
        );
        assert_eq!(unquoted(b"'a'b'c'", Span::new(0, 7)), None);
    }
}
