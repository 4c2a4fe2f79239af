//! What single programs take secrets in, where the name of the flag does not say so.
mod any;
mod clouds;
mod databases;
mod find;
mod keys;
mod logins;
mod packages;
mod runners;
mod web;

pub(super) use self::any::any_flag;
pub(super) use self::find::Programs;

/// How the value that a rule points at is masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// All of it.
    Whole,
    /// All of it, unless it is a `key=value`.
    Bare,
    /// What follows the first of this byte: `user:secret`, `user%secret`, `key=secret`.
    After(u8),
    /// All of it, and all of the next item.
    Pair,
    /// After the first `:` or `%` that ends a user's name; not in `1000:1000`, `www:www` or a URL.
    Account,
    /// As `Account`, where the secret passes for a `Token`.
    LikelyAccount,
    /// As `Account`; without a user's name all of it, unless it names a method: `--auth basic`.
    Auth,
    /// As `Account`; without a user's name all of it, once `Scheme` said `bearer`.
    AuthOrBearer,
    /// An authentication scheme; `bearer` makes the value of `AuthOrBearer` a secret.
    Scheme,
    /// Between the first `:` and the last `@`: `DOMAIN/user:secret@host`.
    Login,
    /// All of it, unless it is a plain word, a path, a host or a URL.
    Token,
    /// As `Token`, but no number, which may be a port.
    Word,
    /// A command that prints a secret: `--password-command 'echo X'`.
    Printing,
    /// What follows one of `>`, `<` and `#` at its start, as in a rule of Redis' `ACL SETUSER`.
    Marked,
    /// What a script types: a secret after a prompt for one, or when it looks like one.
    Typed,
    /// Only after `pass:`; `env:`, `file:` and `fd:` point elsewhere (openssl-passphrase-options(1)).
    PassSpec,
    /// `Name: value` where the name is a secret one.
    Header,
    /// Text for a shell, split again.
    Shell,
    /// A name; the value of that name follows: `jq --arg NAME VALUE`.
    Named,
    /// A harmless value: read like any other word, but no operand.
    Plain,
    /// Nothing follows: the flag is a switch.
    Switch,
}

/// Where a flag's value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Behind the flag or in the next item.
    Any,
    /// Only in the next item, for programs whose long flags have one dash: `-k X` beside `-key`.
    Next,
    /// Only behind it (`-pX`, `--password=X`): the next item is something else.
    Attached,
}

/// One flag of a program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) word: &'static str,
    pub(super) form: Form,
    pub(super) value: Value,
    /// Holds only under this subcommand; empty for any.
    pub(super) under: &'static str,
}

/// An operand that is a secret by its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operand {
    /// The subcommand it is counted from; empty for the program itself.
    pub(super) after: &'static str,
    /// 1 is the first operand after it.
    pub(super) nth: usize,
    pub(super) value: Value,
    /// All operands from the `nth` on.
    pub(super) onward: bool,
    /// Counts only after a one-letter flag with this letter; 0 for always.
    pub(super) with: u8,
}

/// What is known about a program.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) names: &'static [&'static str],
    pub(super) rules: &'static [Rule],
    pub(super) operands: &'static [Operand],
    /// One-letter switches that may stand before a secret's letter: the `sS` of `curl -sSu`.
    pub(super) bundle: &'static str,
    /// Runs another program, named in one of its operands.
    pub(super) wraps: bool,
    /// Operands are text for a shell.
    pub(super) shell: bool,
    /// Words with which it reads a secret from its standard input; empty string: always.
    pub(super) stdin: &'static [&'static str],
    /// Its operands are names of files, packages or units, or a text: no phrase starts in them.
    pub(super) names_only: bool,
    /// Prints its operands, possibly into the one that reads a secret.
    pub(super) prints: bool,
}

impl Program {
    /// Whether its flags start with a slash.
    pub(super) fn slashes(&self) -> bool {
        self.rules.iter().any(|rule| rule.word.starts_with('/'))
    }
}

const NONE: Program = Program {
    names: &[],
    rules: &[],
    operands: &[],
    bundle: "",
    wraps: false,
    shell: false,
    stdin: &[],
    names_only: false,
    prints: false,
};

/// A program of which nothing is known.
pub(super) static UNKNOWN: Program = NONE;

const fn rule(word: &'static str, value: Value) -> Rule {
    Rule {
        word,
        form: Form::Any,
        value,
        under: "",
    }
}

const fn attached(word: &'static str, value: Value) -> Rule {
    Rule {
        word,
        form: Form::Attached,
        value,
        under: "",
    }
}

const fn next(word: &'static str, value: Value) -> Rule {
    Rule {
        word,
        form: Form::Next,
        value,
        under: "",
    }
}

const fn under(under: &'static str, word: &'static str, value: Value) -> Rule {
    Rule {
        word,
        form: Form::Any,
        value,
        under,
    }
}

const fn operand(after: &'static str, nth: usize, value: Value) -> Operand {
    Operand {
        after,
        nth,
        value,
        onward: false,
        with: 0,
    }
}

const fn onward(after: &'static str, nth: usize, value: Value) -> Operand {
    Operand {
        onward: true,
        ..operand(after, nth, value)
    }
}

const fn with(with: u8, nth: usize, value: Value) -> Operand {
    Operand {
        after: "",
        nth,
        value,
        onward: false,
        with,
    }
}
