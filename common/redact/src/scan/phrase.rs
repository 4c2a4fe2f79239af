//! Reads phrases that announce a secret: `secret set NAME VALUE`, `config set KEY VALUE`, `login
//! USER PASSWORD`, `attach TOKEN`.
use super::{Command, Next, Scan};
use crate::guess::{is_hex, is_place, is_random, is_token};
use crate::masker::Span;
use crate::names::{NameKind, classify, may_be_secret};

/// Progress within a phrase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phrase {
    #[default]
    Nothing,
    /// After `secret` or `credentials`: a verb may follow.
    Things,
    /// After `variable`: a verb may follow, and then a secret.
    Variables,
    /// After `set` or `config`: a secret name and its value may follow.
    Set,
    /// After `secret set`: a name or `NAME=VALUE` follows.
    Store,
    /// After `secret set NAME`: the value follows.
    Stored,
    /// After `put auth secret`: a name or the secret follows.
    Thing,
    /// After `set-agent-token` or `config set db.password`: one of the next words is a secret.
    Secret,
    /// After `login`: a user or a token follows.
    Login,
    /// After `login USER`: the password follows.
    LoggedIn,
    /// After `attach` or `install`: a token may follow.
    Enrol,
}

impl Phrase {
    /// Returns whether a flag such as `--value` has a secret value.
    pub(super) fn stores(self) -> bool {
        matches!(
            self,
            Self::Store | Self::Stored | Self::Thing | Self::Secret
        )
    }
}

/// Effect of one word on a phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Things,
    Variables,
    Set,
    /// A verb that counts only after `Things`: `secrets put`.
    Put,
    /// Noun and verb in one word: `set-secret`.
    Store,
    Login,
    Enrol,
}

/// Returns the role of a word in phrases.
fn role(word: &[u8]) -> Option<Role> {
    // Longer than all of these words.
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

/// Returns whether `word` begins a phrase.
pub(super) fn is_word(word: &[u8]) -> bool {
    role(word).is_some() || is_verb_of_secret(word)
}

/// Returns whether `flag` begins a phrase: `crudini --set FILE SECTION KEY VALUE`.
pub(super) fn is_verb_flag(flag: &[u8]) -> bool {
    matches!(flag, b"--set" | b"-set" | b"--put")
}

/// Returns whether `word` means changing a secret: `set-agent-token`, `reset-admin-password`.
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

/// Returns whether the flag holds the value in `secret set NAME --value X`.
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
    /// Reads one operand as part of a phrase; returns true when it was masked.
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
                    // `kv put PATH VALUE`: only a path with a secret name counts.
                    Role::Put if matches!(text, b"put" | b"write" | b"insert") => Phrase::Set,
                    Role::Put | Role::Store => command.phrase,
                };
            }
            (Phrase::Things | Phrase::Variables, _) => command.phrase = Phrase::Nothing,
            (Phrase::Store, _) => {
                if let Some(equals) = memchr::memchr(b'=', text) {
                    return self.mask_value(word.skip(equals + 1), NameKind::SecretOrPath, depth);
                }
                // The word after a flag is its value, like `prod` in `--env prod NAME VALUE`.
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

    /// Reads a key after `set`: `db.password`, `auth/token`, `//registry/:_authToken`.
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

    /// Returns whether the word is in capitals, or has a secret name: `DB_PASSWORD`, `MAILER`.
    fn is_variable_name(&self, word: Span) -> bool {
        let text = self.masker.get(word);
        text.iter()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_')
            || classify(text, &self.redactor.extra_names).is_some()
    }
}
