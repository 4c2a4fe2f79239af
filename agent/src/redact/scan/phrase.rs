//! Verbs that say that a secret follows: `secret set NAME VALUE`, `config set KEY VALUE`,
//! `login USER PASSWORD`, `attach TOKEN`.
use super::{Command, Next, Scan};
use crate::redact::guess::{is_random, is_token};
use crate::redact::masker::Span;
use crate::redact::names::{NameKind, classify, may_be_secret};

/// How far a phrase has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phrase {
    #[default]
    Nothing,
    /// `secret`, `credentials`: a verb may follow.
    Things,
    /// `set`, `config`: a secret name and its value may follow.
    Set,
    /// `secret set`: a name or `NAME=VALUE` follows.
    Store,
    /// `secret set NAME`: the value follows.
    Stored,
    /// `login`: a user follows, or a token.
    Login,
    /// `login USER`: the password follows.
    LoggedIn,
    /// `attach`, `install`: a token may follow.
    Enrol,
}

/// What one word does to a phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Things,
    Set,
    /// A verb that counts only behind `Things`: `secrets put`.
    Put,
    /// Noun and verb in one word: `set-secret`.
    Store,
    Login,
    Enrol,
}

/// The words of phrases.
fn role(word: &[u8]) -> Option<Role> {
    // Longer than all of them.
    if word.len() > 16 {
        return None;
    }
    Some(match word {
        b"secret" | b"secrets" | b"credential" | b"credentials" | b"creds" | b"variable"
        | b"variables" => Role::Things,
        b"set" | b"config" | b"configure" | b"setenv" | b"conf" | b"config:set" | b"env:set"
        | b"config-set" | b"SET" | b"CONFIG" | b"setopt" | b"set-config" => Role::Set,
        b"put" | b"add" | b"create" | b"update" | b"new" | b"save" | b"store" | b"write"
        | b"edit" | b"upsert" | b"rotate" | b"replace" => Role::Put,
        b"set-secret" | b"put-secret" | b"secret-set" | b"secrets-set" | b"secrets:set"
        | b"secret:set" | b"secret:create" | b"secrets:create" | b"add-secret"
        | b"create-secret" | b"secrets:put" | b"secret:put" | b"setsecret" => Role::Store,
        b"login" | b"signin" | b"sign-in" | b"log-in" | b"logon" | b"LOGIN" => Role::Login,
        b"attach" | b"register" | b"enroll" | b"enrol" | b"install" | b"activate" | b"join"
        | b"link" | b"connect" | b"unlock" | b"auth" | b"authenticate" | b"authtoken"
        | b"licence" | b"license" => Role::Enrol,
        _ => return None,
    })
}

/// Whether `word` begins or carries on a phrase.
pub(super) fn is_word(word: &[u8]) -> bool {
    role(word).is_some()
}

/// Flags that carry the value in `secret set NAME --value X`.
pub(super) fn is_value_flag(flag: &[u8]) -> bool {
    matches!(
        flag,
        b"--value"
            | b"-value"
            | b"--body"
            | b"-b"
            | b"--text"
            | b"--string"
            | b"--content"
            | b"--secret-value"
            | b"-v"
    )
}

impl Scan<'_> {
    /// Reads one operand as part of a phrase; true when it was masked.
    pub(super) fn phrase(&mut self, command: &mut Command, word: Span, depth: u8) -> bool {
        let behind_flag = std::mem::take(&mut command.behind_flag);
        let text = self.masker.get(word);
        let role = role(text);
        match (command.phrase, role) {
            (Phrase::Nothing, None) => return false,
            (_, Some(Role::Store))
            | (Phrase::Things, Some(Role::Set | Role::Put))
            | (Phrase::Set, Some(Role::Things)) => command.phrase = Phrase::Store,
            (Phrase::Set, Some(Role::Set | Role::Put)) => {}
            (Phrase::Nothing | Phrase::Things | Phrase::Set | Phrase::Enrol, Some(role)) => {
                command.phrase = match role {
                    Role::Things => Phrase::Things,
                    Role::Set => Phrase::Set,
                    Role::Login => Phrase::Login,
                    Role::Enrol => Phrase::Enrol,
                    // `kv put PATH VALUE`: only a path that names a secret counts.
                    Role::Put if text == b"put" => Phrase::Set,
                    Role::Put | Role::Store => command.phrase,
                };
            }
            (Phrase::Things, None) => command.phrase = Phrase::Nothing,
            (Phrase::Set, _) => return self.setting(command, word),
            (Phrase::Store, _) => {
                if let Some(equals) = memchr::memchr(b'=', text) {
                    return self.mask_value(word.skip(equals + 1), NameKind::SecretOrPath, depth);
                }
                // Behind a flag stands its value, as `prod` in `--env prod NAME VALUE`.
                if !behind_flag || self.is_variable_name(word) {
                    command.phrase = Phrase::Stored;
                }
            }
            (Phrase::Stored, _) if behind_flag => {}
            (Phrase::Stored, _) => {
                command.phrase = Phrase::Nothing;
                return self.mask_value(word, NameKind::SecretOrPath, depth);
            }
            (Phrase::Login, _) if is_random(text) => {
                return self.mask_value(word, NameKind::SecretOrPath, depth);
            }
            (Phrase::Login, _) if !behind_flag => command.phrase = Phrase::LoggedIn,
            (Phrase::LoggedIn, _) if !behind_flag => {
                command.phrase = Phrase::Nothing;
                return is_token(text) && self.mask_value(word, NameKind::SecretOrPath, depth);
            }
            (Phrase::Enrol, None) if is_random(text) => {
                return self.mask_value(word, NameKind::SecretOrPath, depth);
            }
            (Phrase::Login | Phrase::LoggedIn | Phrase::Enrol, _) => {}
        }
        false
    }

    /// Reads a key behind `set`: `db.password`, `auth/token`, `//registry/:_authToken`.
    fn setting(&self, command: &mut Command, word: Span) -> bool {
        let text = self.masker.get(word);
        let last = text
            .iter()
            .rposition(|byte| matches!(byte, b'/' | b':'))
            .map_or(0, |at| at + 1);
        let key = text.get(last..).unwrap_or(text);
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
        if (may_be_secret(key) || !self.redactor.extra_names.is_empty())
            && key.iter().all(plain)
            && let Some(kind) = classify(key, &self.redactor.extra_names)
        {
            command.next = Next::Likely(kind);
        }
        false
    }

    /// `DB_PASSWORD`, `MAILER`: in capitals, or with a secret's name.
    fn is_variable_name(&self, word: Span) -> bool {
        let text = self.masker.get(word);
        text.iter()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_')
            || classify(text, &self.redactor.extra_names).is_some()
    }
}
