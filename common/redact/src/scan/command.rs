//! The state of one simple command between two of its words.
use crate::masker::Span;
use crate::names::NameKind;
use crate::program::{Program, UNKNOWN, Value};

use super::phrase::Phrase;

/// Number of stored operands, which show the subcommand.
pub(super) const MAX_OPERANDS: usize = 8;

/// What the previous word announces about the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Next {
    #[default]
    Anything,
    /// A program's rule covers it.
    Ruled(Value),
    /// A flag with a secret name came before, but it may be a switch.
    Likely(NameKind),
    /// A secret name stood alone; after `=` or `:` the next word is a secret.
    Named,
    /// As `Named`, in SQL: a string in single quotes is also a secret.
    Sql,
    /// `IDENTIFIED BY` came before: the next word is a secret, with or without quotes.
    SqlBy,
    /// `Authorization:` or a scheme came before, and the rest of the header follows.
    Credential,
    /// `password:` began a line: if one word follows, it is the secret; several are a sentence.
    Line,
    /// `PASSWORD FOR user` came before: a secret follows after `=`, within this number of words.
    Assigned(u8),
    /// `Bearer` came before.
    Bearer,
}

/// The state of one simple command between two of its words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Command {
    pub(super) program: &'static Program,
    pub(super) next: Next,
    /// The latest operands, as a ring buffer.
    operands: [Span; MAX_OPERANDS],
    count: usize,
    /// One-letter flags so far: a bit for each of `a` to `z`.
    pub(super) letters: u32,
    /// Progress in a phrase such as `secret set NAME VALUE`.
    pub(super) phrase: Phrase,
    /// The previous word was a flag, and its value may follow.
    pub(super) behind_flag: bool,
    /// The program that runs this one reads a secret from its standard input: `sudo -S`.
    fed: bool,
    /// A flag named a user, so `-p` is more probably a password than a port.
    pub(super) has_user: bool,
    /// A value for `AuthOrBearer`, stored until it is clear whether it is a token.
    pub(super) held: Option<Span>,
    /// The scheme of the login is `bearer`.
    pub(super) bearer: bool,
    /// An operand may be the name of another program, which is then run.
    pub(super) wraps: bool,
    /// The program's name has been read; assignments and keywords may precede it.
    pub(super) started: bool,
    /// Start of the operands, for a command that prints them.
    pub(super) printed: Option<usize>,
}

impl Command {
    pub(crate) fn of(program: Option<&'static Program>) -> Self {
        let program = program.unwrap_or(&UNKNOWN);
        Self {
            program,
            wraps: program.wraps,
            started: true,
            ..Self::unnamed()
        }
    }

    /// Returns a command whose program has not been read yet.
    pub(super) fn unnamed() -> Self {
        Self {
            program: &UNKNOWN,
            next: Next::Anything,
            operands: [Span::default(); MAX_OPERANDS],
            count: 0,
            letters: 0,
            phrase: Phrase::Nothing,
            behind_flag: false,
            fed: false,
            has_user: false,
            held: None,
            bearer: false,
            wraps: false,
            started: false,
            printed: None,
        }
    }

    /// Returns whether the next word has no meaning by its position.
    pub(super) fn is_plain(&self) -> bool {
        let program = self.program;
        self.next == Next::Anything
            && self.phrase == Phrase::Nothing
            && !self.has_user
            && !self.wraps
            && !program.shell
            && !program.prints
            && program.operands.is_empty()
            && program.rules.is_empty()
    }

    /// Stores an operand and returns how many came before it.
    pub(super) fn push(&mut self, operand: Span) -> usize {
        if let Some(slot) = self.operands.get_mut(self.count % MAX_OPERANDS) {
            *slot = operand;
        }
        self.count += 1;
        self.count - 1
    }

    /// Returns the operand `back` places before the latest one.
    pub(super) fn before(&self, back: usize) -> Option<Span> {
        let at = self
            .count
            .checked_sub(back + 1)
            .filter(|_| back < MAX_OPERANDS)?;
        self.operands.get(at % MAX_OPERANDS).copied()
    }

    /// Returns whether this program, or the one that runs it, reads a secret from its standard
    /// input.
    pub(super) fn is_fed(&self) -> bool {
        self.fed || !self.program.stdin.is_empty()
    }

    /// Continues with the rules of the program that an operand named.
    pub(super) fn switch_to(&mut self, program: &'static Program) {
        let fed = self.is_fed();
        *self = Self {
            fed,
            ..Self::of(Some(program))
        };
    }
}
