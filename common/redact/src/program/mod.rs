//! Rules for single programs whose flags and operands take secrets without a secret name.
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

/// How the value of a rule is masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// The whole value.
    Whole,
    /// The whole value, unless it is a `key=value`.
    Bare,
    /// The part after the first byte of this kind: `user:secret`, `user%secret`, `key=secret`.
    After(u8),
    /// The whole value and the whole next item.
    Pair,
    /// The part after the first `:` or `%` that ends a user's name; not in `1000:1000`, `www:www`
    /// or a URL.
    Account,
    /// As `Account`, if the secret also counts as a `Token`.
    LikelyAccount,
    /// As `Account`. Without a user's name the whole value, unless it is a method: `--auth basic`.
    Auth,
    /// As `Account`. Without a user's name the whole value, after `Scheme` was `bearer`.
    AuthOrBearer,
    /// An authentication scheme; `bearer` makes the value of `AuthOrBearer` a secret.
    Scheme,
    /// The part between the first `:` and the last `@`: `DOMAIN/user:secret@host`.
    Login,
    /// The whole value, unless it is a plain word, a path, a host or a URL.
    Token,
    /// As `Token`, but not a number, which may be a port.
    Word,
    /// A command that prints a secret: `--password-command 'echo X'`.
    Printing,
    /// The part after a `>`, `<` or `#` at its start, as in a rule of Redis' `ACL SETUSER`.
    Marked,
    /// Text that a script types: secret after a prompt for a secret, or if it looks like one.
    Typed,
    /// Only after `pass:`; `env:`, `file:` and `fd:` refer to other places
    /// (openssl-passphrase-options(1)).
    PassSpec,
    /// `Name: value` with a secret name.
    Header,
    /// Text for a shell, which is split again.
    Shell,
    /// A name; the next item is its value: `jq --arg NAME VALUE`.
    Named,
    /// A harmless value: read like other words, but not counted as an operand.
    Plain,
    /// The flag is a switch and takes no value.
    Switch,
}

/// Position of a flag's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Directly after the flag or in the next item.
    Any,
    /// Only in the next item, for programs whose long flags have one dash: `-k X` besides `-key`.
    Next,
    /// Only directly after the flag (`-pX`, `--password=X`): the next item is not its value.
    Attached,
}

/// One flag of a program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) word: &'static str,
    pub(super) form: Form,
    pub(super) value: Value,
    /// Valid only under this subcommand; empty for all.
    pub(super) under: &'static str,
}

/// An operand that is secret by its position.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operand {
    /// The subcommand from which operands are counted; empty for the program itself.
    pub(super) after: &'static str,
    /// 1 is the first operand after it.
    pub(super) nth: usize,
    pub(super) value: Value,
    /// All operands from the `nth` on.
    pub(super) onward: bool,
    /// Valid only after a one-letter flag with this letter; 0 for always.
    pub(super) with: u8,
}

/// The rules of a program.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) names: &'static [&'static str],
    pub(super) rules: &'static [Rule],
    pub(super) operands: &'static [Operand],
    /// One-letter switches that may precede a secret's letter: the `sS` of `curl -sSu`.
    pub(super) bundle: &'static str,
    /// Runs another program, which is one of its operands.
    pub(super) wraps: bool,
    /// Operands are text for a shell.
    pub(super) shell: bool,
    /// Words with which it reads a secret from its standard input; an empty string means always.
    pub(super) stdin: &'static [&'static str],
    /// Its operands are names of files, packages or units, or a text, so no phrase starts in them.
    pub(super) names_only: bool,
    /// Prints its operands, possibly to a program that reads a secret.
    pub(super) prints: bool,
}

impl Program {
    /// Returns whether its flags start with a slash.
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

/// Stands for a program without rules.
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
