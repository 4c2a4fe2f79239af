//! Masks values according to their rule.
use super::{Command, MAX_DEPTH, Next, Scan};
use crate::fields;
use crate::guess;
use crate::masker::Span;
use crate::names::{NameKind, classify};
use crate::program::Value;
use crate::shell::Quote;
use crate::value::is_reference;

impl Scan<'_> {
    /// Masks `value` according to its rule; returns false when it has to be read like other words.
    pub(super) fn apply(
        &mut self,
        command: &mut Command,
        rule: Value,
        value: Span,
        depth: u8,
    ) -> bool {
        match rule {
            Value::Bare if memchr::memchr(b'=', self.masker.get(value)).is_some() => false,
            Value::Whole | Value::Bare => self.mask_value(value, NameKind::Secret, depth),
            Value::After(mark) => match memchr::memchr(mark, self.masker.get(value)) {
                Some(at) if !self.masker.get(value.skip(at + 1)).starts_with(b"//") => {
                    self.mask_value(value.skip(at + 1), NameKind::Secret, depth)
                }
                _ => false,
            },
            Value::Pair => {
                command.next = Next::Ruled(Value::Whole);
                self.mask_value(value, NameKind::Secret, depth)
            }
            Value::Account
            | Value::LikelyAccount
            | Value::Auth
            | Value::AuthOrBearer
            | Value::Scheme
            | Value::Login => self.apply_login(command, rule, value, depth),
            Value::Token => {
                guess::is_token(self.masker.get(value))
                    && self.mask_value(value, NameKind::SecretOrPath, depth)
            }
            Value::Word => {
                let number = self.masker.get(value).iter().all(u8::is_ascii_digit);
                !number && self.apply(command, Value::Token, value, depth)
            }
            Value::Printing => {
                let text = self.masker.get(value);
                let printer = ["echo ", "printf "]
                    .iter()
                    .find(|printer| text.starts_with(printer.as_bytes()))
                    .map(|printer| printer.len());
                match printer {
                    Some(len) => self.mask_printed(value.skip(len), depth),
                    None if depth < MAX_DEPTH => self.text(value, depth + 1),
                    None => {}
                }
                true
            }
            Value::Marked => {
                matches!(self.masker.at(value.start), b'>' | b'<' | b'#')
                    && self.mask_value(value.skip(1), NameKind::Secret, depth)
            }
            Value::Typed => self.mask_typed(value, depth),
            Value::PassSpec => {
                self.masker.get(value).starts_with(b"pass:")
                    && self.mask_value(value.skip(5), NameKind::Secret, depth)
            }
            Value::Header => {
                let header =
                    fields::header(self.masker.get(value), &self.redactor.extra_names, true);
                self.mask_header(command, header, value, depth)
            }
            Value::Shell if depth < MAX_DEPTH => {
                self.text(value, depth + 1);
                true
            }
            Value::Named if memchr::memchr(b'=', self.masker.get(value)).is_none() => {
                if let Some(kind) = classify(self.masker.get(value), &self.redactor.extra_names) {
                    command.next = Next::Likely(kind);
                }
                true
            }
            Value::Plain | Value::Switch | Value::Shell | Value::Named => false,
        }
    }

    /// The part of `apply` for rules about users and their secrets.
    fn apply_login(&mut self, command: &mut Command, rule: Value, value: Span, depth: u8) -> bool {
        match rule {
            Value::Account => {
                command.has_user = true;
                self.mask_account(value, depth)
            }
            Value::LikelyAccount => {
                command.has_user = self.masker.at(value.start).is_ascii_alphabetic();
                let secret = guess::after_account(self.masker.get(value)).map(|at| value.skip(at));
                secret.is_some_and(|secret| {
                    guess::is_token(self.masker.get(secret))
                        && self.mask_value(secret, NameKind::SecretOrPath, depth)
                })
            }
            Value::Auth if memchr::memchr2(b':', b'%', self.masker.get(value)).is_some() => {
                self.mask_account(value, depth)
            }
            Value::Auth => {
                !guess::is_method(self.masker.get(value))
                    && self.mask_value(value, NameKind::SecretOrPath, depth)
            }
            Value::AuthOrBearer if memchr::memchr(b':', self.masker.get(value)).is_some() => {
                self.apply(command, Value::After(b':'), value, depth)
            }
            Value::AuthOrBearer if command.bearer => {
                self.mask_value(value, NameKind::Secret, depth)
            }
            Value::AuthOrBearer => {
                command.held = Some(value);
                true
            }
            Value::Scheme => {
                command.bearer = self.masker.get(value).eq_ignore_ascii_case(b"bearer");
                if let Some(held) = command.held.take().filter(|_| command.bearer) {
                    self.mask_value(held, NameKind::Secret, depth);
                }
                true
            }
            Value::Login => {
                let text = self.masker.get(value);
                let Some(colon) = memchr::memchr(b':', text) else {
                    return false;
                };
                let end = memchr::memrchr(b'@', text).map_or(text.len(), |at| at.max(colon + 1));
                let secret = Span::new(value.start + colon + 1, value.start + end);
                self.mask_value(secret, NameKind::Secret, depth)
            }
            _ => false,
        }
    }

    /// Masks a value without its quotes; returns false when it only refers to a secret.
    pub(super) fn mask_value(&mut self, value: Span, kind: NameKind, depth: u8) -> bool {
        let (inside, quote) = match self.unquoted(value) {
            Some((inside, quote)) => (inside, Some(quote)),
            None => (value, None),
        };
        let expands = depth > 0 && !quote.is_some_and(Quote::is_single);
        if is_reference(self.masker.get(inside), kind, expands) {
            return false;
        }
        self.masker.mask(inside);
        true
    }

    pub(super) fn mask_header(
        &mut self,
        command: &mut Command,
        header: Option<fields::Header>,
        word: Span,
        depth: u8,
    ) -> bool {
        match header {
            Some(fields::Header::Value(offset)) => {
                self.mask_value(word.skip(offset), NameKind::Secret, depth)
            }
            Some(fields::Header::Cut) => {
                command.next = Next::Credential;
                true
            }
            None => false,
        }
    }

    /// Masks the secret of `user:secret` and `user%secret`, with or without quotes.
    fn mask_account(&mut self, value: Span, depth: u8) -> bool {
        guess::after_account(self.masker.get(value))
            .is_some_and(|at| self.mask_value(value.skip(at), NameKind::Secret, depth))
    }

    /// Masks the text that a script sends to a program, as in `expect "assword:"; send "X\r"`.
    fn mask_typed(&mut self, value: Span, depth: u8) -> bool {
        let inside = fields::quoted(&self.masker, value)
            .unwrap_or_else(|| self.masker.run(value, |byte| !matches!(byte, b'}' | b'\\')));
        let before = Span::new(inside.start.saturating_sub(MAX_PROMPT), inside.start);
        let prompted = depth > 0 && guess::is_prompt(self.masker.get(before));
        let text = self.masker.get(inside);
        let end = memchr::memchr(b'\\', text).unwrap_or(text.len());
        let word = Span::new(inside.start, inside.start + end);
        let text = self.masker.get(word);
        let likely = !text.contains(&b' ') && text.len() > 5 && guess::is_token(text);
        let variable = depth > 0 && text.starts_with(b"$");
        !variable && (prompted || likely) && self.mask_value(word, NameKind::Secret, depth)
    }

    /// Masks the value of `/password:X` and `/TOKEN=X`.
    pub(super) fn slash_flag(&mut self, word: Span, depth: u8) -> bool {
        let name = self.masker.run(word.skip(1), |byte| {
            byte.is_ascii_alphanumeric() || byte == b'_'
        });
        let mark = matches!(self.masker.at(name.end), b':' | b'=');
        mark && name.end < word.end
            && classify(self.masker.get(name), &self.redactor.extra_names).is_some()
            && self.mask_value(
                Span::new(name.end + 1, word.end),
                NameKind::SecretOrPath,
                depth,
            )
    }
}

/// Longest distance of the prompt before a typed word.
const MAX_PROMPT: usize = 96;
