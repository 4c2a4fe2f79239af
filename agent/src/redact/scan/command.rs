//! One simple command, between two of its words.
use crate::redact::masker::Span;
use crate::redact::names::NameKind;
use crate::redact::program::{Program, UNKNOWN, Value};

use super::phrase::Phrase;

/// Operands remembered to know the subcommand.
pub(super) const MAX_OPERANDS: usize = 8;

/// What the word before says about the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Next {
    #[default]
    Anything,
    /// A program's rule covers it.
    Ruled(Value),
    /// A secret-named flag came before, but it may have been a switch.
    Likely(NameKind),
    /// A secret name stood alone; `=` or `:` makes the word after it a secret.
    Named,
    /// As `Named`, in SQL: a string in single quotes is a secret too.
    Sql,
    /// `IDENTIFIED BY` came before: a secret with or without quotes.
    SqlBy,
    /// `Authorization:` or a scheme came before, cut off from the rest of its header.
    Credential,
    /// `password:` began a line: the only word behind it is the secret, several are a sentence.
    Line,
    /// `PASSWORD FOR user`: a secret once `=` came, within so many words.
    Assigned(u8),
    /// `Bearer` came before.
    Bearer,
}

/// One simple command, between two of its words.
#[derive(Clone, Copy, Debug)]
pub(in crate::redact) struct Command {
    pub(super) program: &'static Program,
    pub(super) next: Next,
    /// The latest operands, in a ring.
    operands: [Span; MAX_OPERANDS],
    count: usize,
    /// One-letter flags so far, a bit for each of `a` to `z`.
    pub(super) letters: u32,
    /// How far `secret set NAME VALUE` or its like has been read.
    pub(super) phrase: Phrase,
    /// The word before was a flag whose value may come next.
    pub(super) behind_flag: bool,
    /// The program that runs this one reads a secret from its standard input: `sudo -S`.
    fed: bool,
    /// A flag named a user, so `-p` is likelier a password than a port.
    pub(super) has_user: bool,
    /// What `AuthOrBearer` found before it was clear whether it is a token.
    pub(super) held: Option<Span>,
    /// The scheme of the login is `bearer`.
    pub(super) bearer: bool,
    /// An operand may name another program, which then runs.
    pub(super) wraps: bool,
    /// The program's name has been read; before it come assignments and keywords.
    pub(super) started: bool,
    /// Where the operands begin of a command that prints them.
    pub(super) printed: Option<usize>,
}

impl Command {
    pub(in crate::redact) fn of(program: Option<&'static Program>) -> Self {
        let program = program.unwrap_or(&UNKNOWN);
        Self {
            program,
            wraps: program.wraps,
            started: true,
            ..Self::unnamed()
        }
    }

    /// A command whose program is still to come.
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

    /// Whether the next word means nothing by its place.
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

    /// Remembers an operand and returns how many came before it.
    pub(super) fn push(&mut self, operand: Span) -> usize {
        if let Some(slot) = self.operands.get_mut(self.count % MAX_OPERANDS) {
            *slot = operand;
        }
        self.count += 1;
        self.count - 1
    }

    /// The operand `back` places before the latest one.
    pub(super) fn before(&self, back: usize) -> Option<Span> {
        let at = self
            .count
            .checked_sub(back + 1)
            .filter(|_| back < MAX_OPERANDS)?;
        self.operands.get(at % MAX_OPERANDS).copied()
    }

    /// Whether this program, or the one that runs it, reads a secret from its standard input.
    pub(super) fn is_fed(&self) -> bool {
        self.fed || !self.program.stdin.is_empty()
    }

    /// Goes on as the program that an operand named.
    pub(super) fn switch_to(&mut self, program: &'static Program) {
        let fed = self.is_fed();
        *self = Self {
            fed,
            ..Self::of(Some(program))
        };
    }
}
