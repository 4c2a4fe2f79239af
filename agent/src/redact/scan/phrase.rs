//! Verbs that say that a secret follows: `secret set NAME VALUE`, `config set KEY VALUE`,
//! `login USER PASSWORD`, `attach TOKEN`.
use super::{Command, Next, Scan};
use crate::redact::guess::{is_hex, is_place, is_random, is_token};
use crate::redact::masker::Span;
use crate::redact::names::{NameKind, classify, may_be_secret};

/// How far a phrase has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phrase {
    #[default]
    Nothing,
    /// `secret`, `credentials`: a verb may follow.
    Things,
    /// `variable`: a verb may follow, and then a secret.
    Variables,
    /// `set`, `config`: a secret name and its value may follow.
    Set,
    /// `secret set`: a name or `NAME=VALUE` follows.
    Store,
    /// `secret set NAME`: the value follows.
    Stored,
    /// `put auth secret`: a name follows, or the secret.
    Thing,
    /// `set-agent-token`, `config set db.password`: a secret is among the next words.
    Secret,
    /// `login`: a user follows, or a token.
    Login,
    /// `login USER`: the password follows.
    LoggedIn,
    /// `attach`, `install`: a token may follow.
    Enrol,
}

impl Phrase {
    /// Whether a flag such as `--value` carries a secret.
    pub(super) fn stores(self) -> bool {
        matches!(
            self,
            Self::Store | Self::Stored | Self::Thing | Self::Secret
        )
    }
}

/// What one word does to a phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Things,
    Variables,
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
    if word.len() > 17 {
        return None;
    }
    Some(match word {
        b"api-key" | b"api-keys" | b"apikey" | b"keystore" | b"secret" | b"secrets"
        | b"credential" | b"credentials" | b"creds" => Role::Things,
        b"variable" | b"variables" => Role::Variables,
        b"set" | b"config" | b"configure" | b"setenv" | b"conf" | b"config:set" | b"env:set"
        | b"config-set" | b"config:system:set" | b"config:app:set" | b"SET" | b"CONFIG"
        | b"setopt" | b"set-config" => Role::Set,
        b"put" | b"add" | b"create" | b"update" | b"new" | b"save" | b"store" | b"write"
        | b"insert" | b"edit" | b"upsert" | b"rotate" | b"replace" => Role::Put,
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

/// Whether `word` begins a phrase.
pub(super) fn is_word(word: &[u8]) -> bool {
    role(word).is_some() || is_verb_of_secret(word)
}

/// Whether `flag` begins a phrase: `crudini --set FILE SECTION KEY VALUE`.
pub(super) fn is_verb_flag(flag: &[u8]) -> bool {
    matches!(flag, b"--set" | b"-set" | b"--put")
}

/// Whether `word` says to change a secret: `set-agent-token`, `reset-admin-password`.
fn is_verb_of_secret(word: &[u8]) -> bool {
    const VERBS: [&[u8]; 9] = [
        b"set", b"reset", b"change", b"update", b"store", b"add", b"user", b"upsert", b"import",
    ];
    const BOUNDS: &[u8] = b"-_:.";
    const LONGEST: usize = 40;
    word.len() <= LONGEST
        && word.first().is_some_and(u8::is_ascii_alphabetic)
        && may_be_secret(word)
        && word
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || BOUNDS.contains(byte))
        && word
            .split(|byte| BOUNDS.contains(byte))
            .any(|part| VERBS.iter().any(|verb| part.starts_with(verb)))
        && classify(word, &[]).is_some()
}

/// Flags that carry the value in `secret set NAME --value X`.
pub(super) fn is_value_flag(flag: &[u8]) -> bool {
    matches!(
        flag,
        b"--value"
            | b"-value"
            | b"--body"
            | b"--data"
            | b"--base64"
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
            (Phrase::Nothing | Phrase::Things, None) if is_verb_of_secret(text) => {
                command.phrase = Phrase::Secret;
            }
            (_, Some(Role::Store)) | (Phrase::Things, Some(Role::Set | Role::Put)) => {
                command.phrase = Phrase::Store;
            }
            (Phrase::Variables, Some(Role::Set | Role::Put)) => command.phrase = Phrase::Secret,
            (Phrase::Set, Some(Role::Things)) => command.phrase = Phrase::Thing,
            (Phrase::Thing, _) => {
                let key = self.is_variable_name(word);
                command.phrase = Phrase::Stored;
                return !key
                    && is_token(text)
                    && self.mask_value(word, NameKind::SecretOrPath, depth);
            }
            (Phrase::Secret, _) => {
                let value = memchr::memchr(b'=', text).map_or(word, |at| word.skip(at + 1));
                return is_token(self.masker.get(value))
                    && self.mask_value(value, NameKind::SecretOrPath, depth);
            }
            (Phrase::Set, Some(Role::Set | Role::Put)) | (Phrase::Nothing, None) => {}
            (Phrase::Set, _) => return self.setting(command, word),
            (Phrase::Nothing | Phrase::Things | Phrase::Enrol, Some(role)) => {
                command.phrase = match role {
                    Role::Things => Phrase::Things,
                    Role::Variables => Phrase::Variables,
                    Role::Set => Phrase::Set,
                    Role::Login => Phrase::Login,
                    Role::Enrol => Phrase::Enrol,
                    // `kv put PATH VALUE`: only a path that names a secret counts.
                    Role::Put if matches!(text, b"put" | b"write" | b"insert") => Phrase::Set,
                    Role::Put | Role::Store => command.phrase,
                };
            }
            (Phrase::Things | Phrase::Variables, _) => command.phrase = Phrase::Nothing,
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
            (Phrase::Login, _) if is_random(text) || is_hex(text) => {
                return self.mask_value(word, NameKind::SecretOrPath, depth);
            }
            (Phrase::Login, _) if !behind_flag => command.phrase = Phrase::LoggedIn,
            // `login PROFILE URL KEY`
            (Phrase::LoggedIn, _) if is_place(text) => {}
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
            command.phrase = Phrase::Secret;
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
