//! Reads the words of one command and masks the secrets that the rules find.
mod command;
mod flag;
mod look;
mod phrase;
mod rule;
mod text;

pub(super) use self::command::Command;
use self::command::{MAX_OPERANDS, Next};
use self::look::Seen;
use super::Redactor;
use super::fields;
use super::masker::{Masker, Span};
use super::names::{NameKind, classify, may_be_secret};
use super::program::{Value, any_flag};
use super::shell::{Quote, unquoted};

/// Deepest level of command strings inside command strings; below, quotes count as plain bytes.
/// Each level reads its bytes once, so this also limits the work per byte.
const MAX_DEPTH: u8 = 6;

/// The state while one argv is read.
pub(super) struct Scan<'a> {
    redactor: &'a Redactor,
    masker: Masker<'a>,
    /// The current word is the last one of its line.
    ends_line: bool,
    /// An AWS access key id was read: a word in the form of its secret is then a secret.
    aws_key_id: bool,
    /// Inside a PEM private key that continues in later words.
    in_pem: bool,
}

impl<'a> Scan<'a> {
    pub(super) fn new(redactor: &'a Redactor, masker: Masker<'a>) -> Self {
        Self {
            redactor,
            masker,
            ends_line: false,
            aws_key_id: false,
            in_pem: false,
        }
    }

    pub(super) fn changed(&self) -> bool {
        self.masker.changed()
    }

    /// Returns the length of the item that starts at `start`.
    pub(super) fn item_len(&self, start: usize) -> usize {
        let rest = self.masker.rest(start);
        memchr::memchr(0, rest).unwrap_or(rest.len())
    }

    /// Masks the secrets in the next item of an argv.
    pub(super) fn item(&mut self, command: &mut Command, item: Span) {
        if item.is_empty() {
            if !matches!(command.next, Next::Named | Next::Sql) {
                command.next = Next::Anything;
            }
            return;
        }
        let text = self.masker.get(item);
        let plain = command.is_plain() && !self.in_pem && Seen::of(text).is_nothing();
        let nothing = plain
            && match text {
                b"--" | b"Bearer" => false,
                [b'-', name @ ..] => {
                    self.redactor.extra_flags.is_empty()
                        && !self.may_be_secret(name)
                        && (command.program.names_only
                            || any_flag(text).is_none() && !phrase::is_verb_flag(text))
                }
                _ if command.program.names_only => true,
                _ => !phrase::is_word(text),
            };
        if nothing {
            // Most items end here: paths, names and numbers.
            self.shapes(item);
        } else {
            self.word(command, item, 0);
        }
    }

    /// Masks the secrets in one word; in a command string (`depth` > 0) it may be quoted.
    fn word(&mut self, command: &mut Command, raw: Span, depth: u8) {
        let (word, quote) = match self.unquoted(raw).filter(|_| depth > 0) {
            Some((inside, quote)) => (inside, Some(quote)),
            None => (raw, None),
        };
        let next = std::mem::take(&mut command.next);
        if self.follows(command, next, word, quote, depth) {
            return;
        }
        let first = self.masker.at(word.start);
        let done = if next == Next::Ruled(Value::Plain) {
            false
        } else if (first == b'-' && word.len() > 1) || first == b'/' && command.program.slashes() {
            let done =
                self.flag(command, word, depth) || first == b'/' && self.slash_flag(word, depth);
            command.behind_flag = !done && memchr::memchr(b'=', self.masker.get(word)).is_none();
            done
        } else if first == b'/' && self.slash_flag(word, depth) {
            true
        } else {
            self.operand(command, word, quote, depth)
        };
        if !done {
            self.inside(command, word, quote.is_some() || depth == 0, depth);
        }
    }

    fn may_be_secret(&self, name: &[u8]) -> bool {
        may_be_secret(name) || !self.redactor.extra_names.is_empty()
    }

    fn unquoted(&self, word: Span) -> Option<(Span, Quote)> {
        let may_be = matches!(self.masker.at(word.start), b'"' | b'\'' | b'\\');
        if may_be {
            unquoted(self.masker.up_to(word.end), word)
        } else {
            None
        }
    }

    /// Reads `word` as the previous word announced it; returns false when it is something else.
    fn follows(
        &mut self,
        command: &mut Command,
        next: Next,
        word: Span,
        quote: Option<Quote>,
        depth: u8,
    ) -> bool {
        let text = self.masker.get(word);
        match next {
            Next::Anything => false,
            // `mongosh -p --host h` asks the user for the password.
            Next::Ruled(value) => !is_flag(text) && self.apply(command, value, word, depth),
            Next::Likely(kind) => !is_flag(text) && self.mask_value(word, kind, depth),
            Next::SqlBy if is_sql_word(text) => {
                command.next = Next::SqlBy;
                true
            }
            Next::Named | Next::Sql => match text {
                b"=" | b":" | b":=" | b"=>" => {
                    command.next = Next::Likely(NameKind::Secret);
                    true
                }
                b"FOR" | b"for" => {
                    command.next = Next::Assigned(2);
                    true
                }
                [b'$', b'$', ..] if next == Next::Sql => {
                    self.masker.mask(word);
                    true
                }
                // `E'…'` is a string with escapes, `N'…'` one of Unicode.
                [b'E' | b'e' | b'N' | b'n', b'\'', ..] if next == Next::Sql => {
                    self.mask_value(word.skip(1), NameKind::Secret, depth)
                }
                _ => {
                    next == Next::Sql
                        && quote.is_some_and(Quote::is_single)
                        && self.mask_value(word, NameKind::Secret, depth)
                }
            },
            Next::Assigned(_) if text == b"=" => {
                command.next = Next::Likely(NameKind::Secret);
                true
            }
            Next::Assigned(left) => {
                command.next = left.checked_sub(1).map_or(Next::Anything, Next::Assigned);
                false
            }
            Next::Line => self.ends_line && self.mask_value(word, NameKind::Secret, depth),
            Next::Credential if fields::is_scheme(text) => {
                command.next = Next::Credential;
                true
            }
            Next::SqlBy | Next::Credential => self.mask_value(word, NameKind::Secret, depth),
            Next::Bearer => text.len() >= 8 && self.mask_value(word, NameKind::Secret, depth),
        }
    }

    /// Reads a word without a leading dash; returns true when nothing more can be in it.
    fn operand(
        &mut self,
        command: &mut Command,
        word: Span,
        quote: Option<Quote>,
        depth: u8,
    ) -> bool {
        if !command.started {
            return self.start(command, word, quote);
        }
        let redactor = self.redactor;
        let text = self.masker.get(word);
        if depth > 0 && text == b"=" {
            // `$x = Command …`: the rest is read as a new command.
            *command = Command::unnamed();
            return true;
        }
        if command.wraps
            && let Some(program) = redactor
                .programs
                .find(text.strip_prefix(b"{").unwrap_or(text))
        {
            command.switch_to(program);
            return true;
        }
        let program = command.program;
        if program.prints && command.printed.is_none() {
            command.printed = Some(word.start);
        }
        if depth > 0 || text == b"Bearer" {
            let next = self.announced(command, text);
            // An earlier word may still wait for its `=`.
            if next != Next::Anything {
                command.next = next;
            }
        }
        let place = command.push(word);
        let ruled = program.operands.iter().find(|operand| {
            let letter = operand
                .with
                .checked_sub(b'a')
                .is_none_or(|bit| command.letters & (1 << bit) != 0);
            letter
                && if operand.after.is_empty() {
                    operand.nth == place + 1 || operand.onward && operand.nth <= place + 1
                } else if operand.onward {
                    (operand.nth..MAX_OPERANDS).any(|back| self.stood(command, back, operand.after))
                } else {
                    self.stood(command, operand.nth, operand.after)
                }
        });
        if let Some(operand) = ruled {
            command.phrase = phrase::Phrase::Nothing;
            return self.apply(command, operand.value, word, depth);
        }
        if !program.names_only && self.phrase(command, word, depth) {
            return true;
        }
        if program.shell && depth < MAX_DEPTH && has_space(self.masker.get(word)) {
            self.text(word, depth + 1);
            return true;
        }
        false
    }

    /// Returns what a word in running text announces: `password = …`, `IDENTIFIED BY '…'`, `{token:
    /// …`, `env['KEY'] = …`.
    fn announced(&self, command: &Command, text: &[u8]) -> Next {
        let colon = text.ends_with(b":");
        let member = colon && text.starts_with(b"{");
        let text = name_in(text);
        if text.eq_ignore_ascii_case(b"bearer") {
            return Next::Bearer;
        }
        if text.eq_ignore_ascii_case(b"password") && !colon {
            return Next::Sql;
        }
        if (text.eq_ignore_ascii_case(b"by") || text.eq_ignore_ascii_case(b"replace"))
            && self.is_identified(command)
        {
            return Next::SqlBy;
        }
        if classify(text, &self.redactor.extra_names).is_none() {
            return Next::Anything;
        }
        match (member, colon) {
            (true, _) => Next::Likely(NameKind::Secret),
            (_, true) if !command.started => Next::Line,
            _ => Next::Named,
        }
    }

    /// Returns whether the words are `IDENTIFIED [WITH plugin] BY … [REPLACE …]`.
    fn is_identified(&self, command: &Command) -> bool {
        (0..5)
            .filter_map(|back| command.before(back))
            .any(|word| self.masker.get(word).eq_ignore_ascii_case(b"identified"))
    }

    /// Returns whether the operand `back` places before the latest one is `wanted`.
    fn stood(&self, command: &Command, back: usize, wanted: &str) -> bool {
        command.before(back).is_some_and(|before| {
            self.masker
                .get(before)
                .eq_ignore_ascii_case(wanted.as_bytes())
        })
    }
}

/// Returns whether a word after a flag is another flag and not its value.
fn is_flag(text: &[u8]) -> bool {
    match text {
        [b'-', b'-', rest @ ..] => rest.first().is_none_or(u8::is_ascii_alphabetic),
        [b'-', _] => true,
        _ => false,
    }
}

/// Returns whether the word may stand between `IDENTIFIED BY` and the secret.
fn is_sql_word(text: &[u8]) -> bool {
    [&b"password"[..], b"values", b"random", b"value"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word))
}

/// Returns the name at the end of `text`, without quotes and brackets of program code.
fn name_in(text: &[u8]) -> &[u8] {
    let code = |byte: &u8| matches!(byte, b':' | b'\'' | b'"' | b'\\' | b']' | b'}');
    let end = text
        .iter()
        .rposition(|byte| !code(byte))
        .map_or(0, |at| at + 1);
    let name = text.get(..end).unwrap_or_default();
    let len = name
        .iter()
        .rev()
        .take_while(|&&byte| is_name_byte(byte))
        .count();
    let start = end - len;
    // A variable is used here and not set, or a path names a file.
    if start > 0 && matches!(text.get(start - 1), Some(b'$' | b'/' | b'=')) {
        b""
    } else {
        name.get(start..).unwrap_or_default()
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

fn is_plain_name(text: &[u8]) -> bool {
    text.iter()
        .all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':'))
}

fn has_space(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b' ' | b'\t' | b'\n'))
}
