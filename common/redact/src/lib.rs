//! Masks secrets in an argv before it is written to disk.
//!
//! Each byte of a secret becomes `*`, so every item keeps its length and position. Masked are: the
//! values of flags and keys with a secret name, the values of flags in which a known program takes
//! secrets, passwords in URLs, headers, tokens of a known form, and all of these inside command
//! strings for a shell. `docs/redaction.md` lists what is not masked.
//!
//! No crate was found that does this. Scanners such as gitleaks find tokens of a known form, but do
//! not know in which flag or position of a program a password stands.
mod calls;
mod fields;
mod guess;
mod hash;
mod masker;
mod names;
mod program;
mod scan;
mod shape;
mod shell;
mod url;
mod value;

use std::{error, fmt};

use memchr::memchr;

use self::masker::{Masker, Span};
use self::program::Programs;
use self::scan::{Command, Scan};

/// The operator's additions to the built-in rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedactRules {
    /// Flags with a secret value, as typed: `--acme-pin` or `-Z`; for all programs.
    pub extra_flags: Vec<String>,
    /// Names with a secret value in flags, keys and headers: `acme_pin`.
    pub extra_names: Vec<String>,
}

/// Reason why an operator's rule cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub enum RuleError {
    /// A flag must start with `-` and be one word without `=`.
    Flag(String),
    /// A name consists of letters, digits, `_`, `-` and `.`.
    Name(String),
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => {
                write!(
                    f,
                    "redaction flag `{flag}` is not a flag such as `--acme-pin`"
                )
            }
            Self::Name(name) => write!(
                f,
                "redaction name `{name}` is not a name such as `acme_pin`"
            ),
        }
    }
}

impl error::Error for RuleError {}

/// The built-in rules together with the operator's.
#[derive(Debug)]
pub struct Redactor {
    extra_flags: Vec<Box<[u8]>>,
    extra_names: Vec<Box<[u8]>>,
    programs: Programs,
}

impl Redactor {
    /// Checks the operator's rules and adds them to the built-in ones.
    ///
    /// # Errors
    /// `RuleError` names the first rule that can never match.
    pub fn new(rules: &RedactRules) -> Result<Self, RuleError> {
        let mut extra_flags = Vec::with_capacity(rules.extra_flags.len());
        for flag in &rules.extra_flags {
            let name = flag.trim_start_matches('-');
            if !flag.starts_with('-') || !is_name(name) {
                return Err(RuleError::Flag(flag.clone()));
            }
            extra_flags.push(flag.as_bytes().into());
        }
        let mut extra_names = Vec::with_capacity(rules.extra_names.len());
        for name in &rules.extra_names {
            if !is_name(name) {
                return Err(RuleError::Name(name.clone()));
            }
            extra_names.push(name.as_bytes().into());
        }
        Ok(Self {
            extra_flags,
            extra_names,
            programs: Programs::new(),
        })
    }

    /// Masks the secrets of one argv in place and returns whether it found any.
    ///
    /// `exe` is the path of the executable. `argv` has its items as in memory, each followed by a
    /// NUL (the last one may be cut). The first item, the program's name, is never changed.
    pub fn redact(&self, exe: &[u8], argv: &mut [u8]) -> bool {
        let mut passes = 0;
        // Masking can reveal more: a text that looked like a variable no longer does after a part
        // of it is masked. Most arguments contain no secret and are read once.
        while passes < MAX_PASSES && self.pass(exe, argv) {
            passes += 1;
        }
        passes > 0
    }

    /// Reads the argv once and returns whether it masked anything.
    fn pass(&self, exe: &[u8], argv: &mut [u8]) -> bool {
        let first = memchr(0, argv).unwrap_or(argv.len());
        let name = argv.get(..first).unwrap_or_default();
        // The path first, because the caller can write any text to argv[0].
        let program = match self.programs.find(exe) {
            None if !exe.ends_with(name) => self.programs.find(name),
            found => found,
        };
        let end = argv.len();
        let mut command = Command::of(program);
        let mut scan = Scan::new(self, Masker::new(argv));
        let mut start = first + 1;
        while start < end {
            let len = scan.item_len(start);
            scan.item(&mut command, Span::new(start, start + len));
            start += len + 1;
        }
        scan.changed()
    }
}

/// Most passes over one argv. Each masks more than the one before; the limit bounds the work.
const MAX_PASSES: usize = 4;

#[cfg(test)]
mod tests;

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
        && text.bytes().any(|byte| byte.is_ascii_alphanumeric())
}
