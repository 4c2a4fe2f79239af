//! Reads words that start with a dash.
use super::phrase::{Phrase, is_value_flag, is_verb_flag};
use super::{Command, MAX_OPERANDS, Next, Scan, is_plain_name};
use crate::masker::Span;
use crate::names::{NameKind, classify};
use crate::program::{Form, Rule, Value, any_flag};

/// Names that programs with `-p X` also accept after one dash.
const SPELLED_OUT: &[&[u8]] = &[b"password", b"pass", b"passwd", b"passphrase", b"token"];

impl Scan<'_> {
    /// Reads a word that starts with `-`; returns true when nothing more can be in it.
    pub(super) fn flag(&mut self, command: &mut Command, word: Span, depth: u8) -> bool {
        let text = self.masker.get(word);
        let split = memchr::memchr(b'=', text).unwrap_or(text.len());
        let name = text.get(..split).unwrap_or(text);
        if !text.starts_with(b"--") && !command.program.operands.is_empty() {
            let letters = name.iter().filter(|byte| byte.is_ascii_lowercase());
            command.letters |= letters.fold(0, |seen, byte| seen | 1 << (byte - b'a'));
        }
        let value = (split < text.len()).then(|| word.skip(split + 1));
        if let Some((rule, value)) = self.ruled_flag(command, word, name, value) {
            return match (value, rule.form) {
                (Some(value), _) if matches!(rule.value, Value::Plain | Value::Switch) => {
                    // Only the value: with its flag, a harmless value could look like a secret.
                    self.inside(command, value, depth == 0, depth);
                    true
                }
                (Some(value), _) => self.apply(command, rule.value, value, depth),
                (None, Form::Attached) => true,
                (None, Form::Any | Form::Next) => {
                    command.next = Next::Ruled(rule.value);
                    true
                }
            };
        }
        if is_verb_flag(name) && value.is_none() {
            command.phrase = Phrase::Set;
            return false;
        }
        let own = self.redactor.extra_flags.iter().any(|flag| &**flag == name);
        let bare = name
            .strip_prefix(b"--")
            .or_else(|| name.strip_prefix(b"-").filter(|rest| rest.len() > 2));
        let kind = match bare {
            _ if own => Some(NameKind::Secret),
            Some(bare) if is_plain_name(bare) => classify(bare, &self.redactor.extra_names),
            _ => None,
        };
        if kind.is_none()
            && let Some(rule) = general_rule(command, name)
        {
            if let Some(value) = value {
                return self.apply(command, rule, value, depth);
            }
            command.next = Next::Ruled(rule);
            return false;
        }
        match (kind, value) {
            (Some(kind), Some(value)) => self.mask_value(value, kind, depth),
            (Some(kind), None) => {
                command.next = if own {
                    Next::Ruled(Value::Whole)
                } else {
                    Next::Likely(kind)
                };
                true
            }
            (None, _) if name == b"--" => {
                command.wraps = true;
                true
            }
            (None, _) => false,
        }
    }

    /// Returns the program's own rule for this flag, and the value if it directly follows the flag.
    fn ruled_flag(
        &self,
        command: &Command,
        word: Span,
        name: &[u8],
        value: Option<Span>,
    ) -> Option<(Rule, Option<Span>)> {
        let program = command.program;
        if program.rules.is_empty() {
            return None;
        }
        let applies = |rule: &&Rule| rule.under.is_empty() || self.has_operand(command, rule.under);
        if let Some(rule) = program
            .rules
            .iter()
            .filter(|rule| rule.word.as_bytes() == name)
            .find(applies)
        {
            return Some((*rule, value));
        }
        if name.starts_with(b"--") {
            return None;
        }
        if name
            .get(1..)
            .is_some_and(|bare| SPELLED_OUT.contains(&bare))
        {
            return None;
        }
        let text = self.masker.get(word);
        for (at, &letter) in text.iter().enumerate().skip(1) {
            let short = |rule: &&Rule| {
                rule.form != Form::Next
                    && matches!(rule.word.as_bytes(), [b'-', own] if *own == letter)
            };
            if let Some(rule) = program.rules.iter().filter(short).find(applies) {
                let rest = word.skip(at + 1);
                return Some((*rule, (!rest.is_empty()).then_some(rest)));
            }
            if !program.bundle.as_bytes().contains(&letter) {
                break;
            }
        }
        // `-hpX` of rar: two letters, then the value.
        let long = |rule: &&Rule| {
            rule.form == Form::Attached
                && rule.word.len() > 2
                && text.starts_with(rule.word.as_bytes())
        };
        let rule = program.rules.iter().find(long)?;
        (!rule.word.starts_with("--")).then(|| (*rule, Some(word.skip(rule.word.len()))))
    }

    fn has_operand(&self, command: &Command, name: &str) -> bool {
        (0..MAX_OPERANDS)
            .filter_map(|back| command.before(back))
            .any(|operand| self.masker.get(operand) == name.as_bytes())
    }
}

/// Returns the rule of a flag with the same meaning in most programs.
fn general_rule(command: &Command, name: &[u8]) -> Option<Value> {
    if command.program.names_only {
        return None;
    }
    let storing = command.phrase.stores() && is_value_flag(name);
    let login = command.has_user && matches!(name, b"-p" | b"-P" | b"-w");
    any_flag(name)
        .or_else(|| storing.then_some(Value::Whole))
        .or_else(|| login.then_some(Value::Word))
}
