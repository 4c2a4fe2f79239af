//! Walks the words of one command and masks what the rules point at.
use super::Redactor;
use super::fields::{self, after_pem_begin};
use super::masker::{Masker, Span};
use super::names::{NameKind, classify};
use super::program::{Form, Program, Rule, UNKNOWN, Value};
use super::shape;
use super::shell::{Piece, Quote, Quotes, Splitter, unquoted};
use super::url;
use super::value::is_reference;

/// How deep command strings inside command strings are followed; below, quotes are read as plain
/// bytes. Each level reads its bytes once, so this also bounds the work per byte.
const MAX_DEPTH: u8 = 6;

/// Operands remembered to know the subcommand.
const MAX_OPERANDS: usize = 6;

/// Names that programs with `-p X` also take after one dash.
const SPELLED_OUT: &[&[u8]] = &[b"password", b"pass", b"passwd", b"passphrase", b"token"];

/// What the word before says about the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Anything,
    /// A program's rule covers it.
    Ruled(Value),
    /// A secret-named flag came before, but it may have been a switch.
    Likely(NameKind),
    /// A secret name stood alone; `=`, `:` or a quoted word makes the word after it a secret.
    Named,
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
pub(super) struct Command {
    program: &'static Program,
    next: Next,
    /// The latest operands, the oldest first.
    operands: [Span; MAX_OPERANDS],
    count: usize,
    /// One-letter flags so far, a bit for each of `a` to `z`.
    letters: u32,
    /// An operand may name another program, which then runs.
    wraps: bool,
    /// The program's name has been read; before it come assignments and keywords.
    started: bool,
    /// Where the operands begin of a command that prints them.
    printed: Option<usize>,
}

impl Command {
    pub(super) fn of(program: Option<&'static Program>) -> Self {
        let program = program.unwrap_or(&UNKNOWN);
        Self {
            program,
            wraps: program.wraps,
            started: true,
            ..Self::unnamed()
        }
    }

    fn unnamed() -> Self {
        Self {
            program: &UNKNOWN,
            next: Next::Anything,
            operands: [Span::default(); MAX_OPERANDS],
            count: 0,
            letters: 0,
            wraps: false,
            started: false,
            printed: None,
        }
    }

    /// Remembers an operand and returns how many came before it.
    fn push(&mut self, operand: Span) -> usize {
        self.operands.rotate_left(1);
        if let Some(last) = self.operands.last_mut() {
            *last = operand;
        }
        self.count += 1;
        self.count - 1
    }

    /// The operand `back` places before the latest one.
    fn before(&self, back: usize) -> Option<Span> {
        let at = (MAX_OPERANDS - 1).checked_sub(back)?;
        self.operands.get(at).copied().filter(|_| back < self.count)
    }

    fn switch_to(&mut self, program: &'static Program) {
        *self = Self::of(Some(program));
    }
}

/// The walk over one argv.
pub(super) struct Scan<'a> {
    redactor: &'a Redactor,
    masker: Masker<'a>,
    /// The word read now is the last one of its line.
    ends_line: bool,
    /// An AWS access key id was seen: a lone word that looks like its secret is one.
    aws_key_id: bool,
    /// Inside a PEM private key that goes on in later words.
    in_pem: bool,
}

impl<'a> Scan<'a> {
    pub(super) fn new(redactor: &'a Redactor, masker: Masker<'a>) -> Self {
        Self {
            redactor,
            masker,
            ends_line: false,
            aws_key_id: false,
            in_pem: false,
        }
    }

    pub(super) fn changed(&self) -> bool {
        self.masker.changed()
    }

    /// Length of the item that starts at `start`.
    pub(super) fn item_len(&self, start: usize) -> usize {
        let rest = self.masker.rest(start);
        memchr::memchr(0, rest).unwrap_or(rest.len())
    }

    /// Masks the secrets in the next item of an argv.
    pub(super) fn item(&mut self, command: &mut Command, item: Span) {
        if !item.is_empty() {
            self.word(command, item, 0);
        } else if command.next != Next::Named {
            command.next = Next::Anything;
        }
    }

    /// Masks the secrets in one word; in a command string (`depth` > 0) it may be quoted.
    fn word(&mut self, command: &mut Command, raw: Span, depth: u8) {
        let (word, quote) = match unquoted(self.masker.up_to(raw.end), raw) {
            Some((inside, quote)) if depth > 0 => (inside, Some(quote)),
            _ => (raw, None),
        };
        let next = std::mem::take(&mut command.next);
        if self.follows(command, next, word, quote, depth) {
            return;
        }
        let first = self.masker.at(word.start);
        let done = if next == Next::Ruled(Value::Plain) {
            false
        } else if (first == b'-' && word.len() > 1) || first == b'/' && command.program.slashes() {
            self.flag(command, word, depth)
        } else {
            self.operand(command, word, quote, depth)
        };
        if !done {
            self.inside(command, word, quote.is_some() || depth == 0, depth);
        }
    }

    /// Treats `word` as what the word before announced; false when it is something else.
    fn follows(
        &mut self,
        command: &mut Command,
        next: Next,
        word: Span,
        quote: Option<Quote>,
        depth: u8,
    ) -> bool {
        let text = self.masker.get(word);
        match next {
            Next::Anything => false,
            Next::Ruled(value) => self.apply(command, value, word, depth),
            Next::Likely(kind) => !is_flag(text) && self.mask_value(word, kind, depth),
            Next::Named => match text {
                b"=" | b":" | b":=" | b"=>" => {
                    command.next = Next::Likely(NameKind::Secret);
                    true
                }
                b"FOR" | b"for" => {
                    command.next = Next::Assigned(2);
                    true
                }
                _ => {
                    quote.is_some_and(Quote::is_single)
                        && self.mask_value(word, NameKind::Secret, depth)
                }
            },
            Next::Assigned(_) if text == b"=" => {
                command.next = Next::Likely(NameKind::Secret);
                true
            }
            Next::Assigned(left) => {
                command.next = left.checked_sub(1).map_or(Next::Anything, Next::Assigned);
                false
            }
            Next::Line => self.ends_line && self.mask_value(word, NameKind::Secret, depth),
            Next::Credential if fields::is_scheme(text) => {
                command.next = Next::Credential;
                true
            }
            Next::Credential => self.mask_value(word, NameKind::Secret, depth),
            Next::Bearer => text.len() >= 8 && self.mask_value(word, NameKind::Secret, depth),
        }
    }

    /// Handles a word that starts with `-`; true when nothing more can be in it.
    fn flag(&mut self, command: &mut Command, word: Span, depth: u8) -> bool {
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
                (Some(value), _) => self.apply(command, rule.value, value, depth),
                (None, Form::Attached) => true,
                (None, Form::Any) => {
                    command.next = Next::Ruled(rule.value);
                    true
                }
            };
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

    /// The program's own rule for this flag, and the value where it stands behind the flag.
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
            let short =
                |rule: &&Rule| rule.word.len() == 2 && rule.word.as_bytes().get(1) == Some(&letter);
            if let Some(rule) = program.rules.iter().filter(short).find(applies) {
                let rest = word.skip(at + 1);
                return Some((*rule, (!rest.is_empty()).then_some(rest)));
            }
            if !program.bundle.as_bytes().contains(&letter) {
                break;
            }
        }
        // `-hpX` of rar: two letters with the value behind them.
        let long = |rule: &&Rule| {
            rule.form == Form::Attached
                && rule.word.len() > 2
                && text.starts_with(rule.word.as_bytes())
        };
        let rule = program.rules.iter().find(long)?;
        (!rule.word.starts_with("--")).then(|| (*rule, Some(word.skip(rule.word.len()))))
    }

    /// Handles a word without a dash in front; true when nothing more can be in it.
    fn operand(
        &mut self,
        command: &mut Command,
        word: Span,
        quote: Option<Quote>,
        depth: u8,
    ) -> bool {
        if !command.started {
            return self.start(command, word, quote);
        }
        let redactor = self.redactor;
        let text = self.masker.get(word);
        if command.wraps
            && let Some(program) = redactor.programs.find(text)
        {
            command.switch_to(program);
            return true;
        }
        let program = command.program;
        if program.prints && command.printed.is_none() {
            command.printed = Some(word.start);
        }
        if is_plain_name(text) && (depth > 0 || text == b"Bearer") {
            command.next = self.announced(text, false);
        }
        let place = command.push(word);
        let ruled = program.operands.iter().find(|operand| {
            let letter = operand
                .with
                .checked_sub(b'a')
                .is_none_or(|bit| command.letters & (1 << bit) != 0);
            letter
                && match operand.after {
                    "" => operand.nth == place + 1,
                    after => command.before(operand.nth).is_some_and(|before| {
                        self.masker
                            .get(before)
                            .eq_ignore_ascii_case(after.as_bytes())
                    }),
                }
        });
        if let Some(operand) = ruled {
            return self.apply(command, operand.value, word, depth);
        }
        if program.shell && depth < MAX_DEPTH && has_space(self.masker.get(word)) {
            self.text(word, depth + 1);
            return true;
        }
        false
    }

    /// What a bare word in running text says about the next: `password = …`, `IDENTIFIED BY '…'`.
    fn announced(&self, text: &[u8], starts_line: bool) -> Next {
        if text.eq_ignore_ascii_case(b"bearer") {
            return Next::Bearer;
        }
        let by = text.eq_ignore_ascii_case(b"by");
        if !by && classify(text, &self.redactor.extra_names).is_none() {
            return Next::Anything;
        }
        if starts_line && text.ends_with(b":") {
            Next::Line
        } else {
            Next::Named
        }
    }

    /// Reads the first words of a command in a command string.
    fn start(&mut self, command: &mut Command, word: Span, quote: Option<Quote>) -> bool {
        let text = self.masker.get(word);
        let keyword = matches!(
            text,
            b"-" | b"{"
                | b"}"
                | b"!"
                | b"if"
                | b"then"
                | b"else"
                | b"elif"
                | b"do"
                | b"while"
                | b"until"
                | b"export"
                | b"set"
                | b"local"
                | b"declare"
        );
        if keyword {
            return true;
        }
        // An assignment in front of a command; its value is read by `inside`.
        if quote.is_none() && memchr::memchr(b'=', text).is_some() {
            return false;
        }
        if let Some(program) = self.redactor.programs.find(text) {
            command.switch_to(program);
            return true;
        }
        command.started = true;
        if quote.is_none() && is_plain_name(text) {
            command.next = self.announced(text, true);
        }
        false
    }

    fn has_operand(&self, command: &Command, name: &str) -> bool {
        (0..command.count.min(MAX_OPERANDS))
            .filter_map(|back| command.before(back))
            .any(|operand| self.masker.get(operand) == name.as_bytes())
    }

    /// Masks `value` as its rule says; false when it has to be read like any other word.
    fn apply(&mut self, command: &mut Command, rule: Value, value: Span, depth: u8) -> bool {
        match rule {
            Value::Whole => self.mask_value(value, NameKind::Secret, depth),
            Value::After(mark) => match memchr::memchr(mark, self.masker.get(value)) {
                Some(at) => self.mask_value(value.skip(at + 1), NameKind::Secret, depth),
                None => false,
            },
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

    /// Masks a value out of its quotes; false when it only refers to a secret.
    fn mask_value(&mut self, value: Span, kind: NameKind, depth: u8) -> bool {
        let whole = self.masker.up_to(value.end);
        let (inside, quote) = match unquoted(whole, value) {
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

    fn mask_header(
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

    /// Masks what is secret by its own look, whatever stands before it.
    ///
    /// `whole`: the word is free of quotes of its own, so the inside can be split again as it is.
    fn inside(&mut self, command: &mut Command, word: Span, whole: bool, depth: u8) {
        let seen = Seen::of(self.masker.get(word));
        if self.in_pem || seen.has(Seen::PEM) {
            self.pem(word);
        }
        if seen.has(Seen::COLON) && self.header_in(command, word, seen, depth) {
            return;
        }
        let names = &self.redactor.extra_names;
        let text = seen.has(Seen::SPACE);
        if depth == 0 && !text && seen.has(Seen::COLON) && seen.has(Seen::QUOTE) {
            fields::mask_json(&mut self.masker, word, names);
        }
        if seen.has(Seen::EQUALS) {
            fields::mask_assignments(&mut self.masker, word, names, depth > 0, text);
        }
        if text && depth < MAX_DEPTH {
            if whole {
                return self.text(word, depth + 1);
            }
            self.quoted_parts(word, depth + 1);
        }
        if seen.has(Seen::COLON) {
            url::mask(&mut self.masker, word);
        }
        if word.len() >= shape::MIN_TOKEN {
            self.shapes(word);
        }
    }

    /// Masks a header, also one that is the value of an assignment: `http.extraHeader=Name: value`.
    fn header_in(&mut self, command: &mut Command, word: Span, seen: Seen, depth: u8) -> bool {
        let text = self.masker.get(word);
        let names = &self.redactor.extra_names;
        let mut header = fields::header(text, names, false).map(|header| (header, word));
        if header.is_none()
            && seen.has(Seen::EQUALS)
            && let Some(equals) = memchr::memchr(b'=', text)
        {
            let value = word.skip(equals + 1);
            header =
                fields::header(self.masker.get(value), names, false).map(|header| (header, value));
        }
        header.is_some_and(|(header, word)| self.mask_header(command, Some(header), word, depth))
    }

    /// Reads the quoted parts of a word that is not quoted from end to end: `x="$(…)"`.
    fn quoted_parts(&mut self, word: Span, depth: u8) {
        let mut quotes = Quotes::default();
        let mut at = word.start;
        while at < word.end {
            let bytes = self.masker.up_to(word.end);
            match quotes.part(bytes, at, word.end) {
                Some(part) => {
                    self.text(part.inside, depth);
                    at = part.end;
                }
                None => at += 1,
            }
        }
    }

    /// Reads `text` as a shell would and masks the secrets in each of its commands.
    fn text(&mut self, text: Span, depth: u8) {
        if depth == 1 {
            fields::mask_json(&mut self.masker, text, &self.redactor.extra_names);
        }
        let mut splitter = Splitter::new(text);
        let mut command = Command::unnamed();
        let mut printed = None;
        let mut here = false;
        while let Some(piece) = splitter.next(self.masker.up_to(text.end)) {
            match piece {
                Piece::Word(word)
                    if std::mem::take(&mut here) && !command.program.stdin.is_empty() =>
                {
                    self.mask_value(word, NameKind::Secret, depth);
                }
                Piece::Word(word) => {
                    self.ends_line = splitter.ends_line(self.masker.up_to(text.end));
                    self.word(&mut command, word, depth);
                    if let Some(output) = printed
                        && self.reads_secret(&command, word)
                    {
                        self.mask_value(output, NameKind::Secret, depth);
                        printed = None;
                    }
                }
                Piece::HereString => here = true,
                Piece::Pipe => {
                    printed = command
                        .printed
                        .map(|start| self.printed_until_pipe(start, splitter.at()));
                    command = Command::unnamed();
                }
                Piece::Break => {
                    let next = command.next;
                    command = Command::unnamed();
                    if next == Next::Named {
                        command.next = next;
                    }
                    printed = None;
                }
            }
        }
    }

    fn printed_until_pipe(&self, start: usize, pipe: usize) -> Span {
        let text = self.masker.get(Span::new(start, pipe.saturating_sub(1)));
        Span::new(start, start + text.trim_ascii_end().len())
    }

    /// Whether `command` takes a secret from its standard input, `word` being its latest word.
    fn reads_secret(&self, command: &Command, word: Span) -> bool {
        let text = self.masker.get(word);
        command
            .program
            .stdin
            .iter()
            .any(|known| known.is_empty() || known.as_bytes() == text)
    }

    fn shapes(&mut self, word: Span) {
        let mut from = 0;
        while let Some((start, end)) = shape::find(self.masker.get(word), from) {
            self.aws_key_id |= shape::is_aws_key_id(self.masker.get(word), start);
            self.masker
                .mask(Span::new(word.start + start, word.start + end));
            from = end;
        }
        if self.aws_key_id && shape::is_aws_secret(self.masker.get(word)) {
            self.masker.mask(word);
        }
    }

    /// Masks a PEM private key, which may go on in the next words when nobody quoted it.
    fn pem(&mut self, word: Span) {
        let text = self.masker.get(word);
        let begin = after_pem_begin(text);
        let start = if self.in_pem { Some(0) } else { begin };
        let Some(start) = start else { return };
        let end = text
            .get(start..)
            .and_then(|rest| memchr::memmem::find(rest, b"-----END"));
        self.in_pem = end.is_none();
        self.masker.mask(Span::new(
            word.start + start,
            end.map_or(word.end, |end| word.start + start + end),
        ));
    }
}

/// Whether a word after a flag is another flag and not its value.
fn is_flag(text: &[u8]) -> bool {
    match text {
        [b'-', b'-', rest @ ..] => rest.first().is_none_or(u8::is_ascii_alphabetic),
        [b'-', _] => true,
        _ => false,
    }
}

fn is_plain_name(text: &[u8]) -> bool {
    text.iter()
        .all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':'))
}

fn has_space(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b' ' | b'\t' | b'\n'))
}

/// Which kinds of bytes a word holds: decides what is worth looking for in it.
#[derive(Clone, Copy, Debug)]
struct Seen(u8);

impl Seen {
    const EQUALS: u8 = 1;
    const COLON: u8 = 2;
    const SPACE: u8 = 4;
    const QUOTE: u8 = 8;
    const PEM: u8 = 16;

    const CLASS: [u8; 256] = {
        let mut class = [0; 256];
        class[b'=' as usize] = Self::EQUALS;
        class[b':' as usize] = Self::COLON;
        class[b' ' as usize] = Self::SPACE;
        class[b'\t' as usize] = Self::SPACE;
        class[b'\n' as usize] = Self::SPACE;
        class[b'"' as usize] = Self::QUOTE;
        class[b'\'' as usize] = Self::QUOTE;
        class
    };

    fn of(text: &[u8]) -> Self {
        let mut seen = text
            .iter()
            .fold(0, |seen, &byte| seen | Self::CLASS[usize::from(byte)]);
        let may_hold_pem = seen & Self::SPACE != 0 || text == b"KEY-----";
        if may_hold_pem && after_pem_begin(text).is_some() {
            seen |= Self::PEM;
        }
        Self(seen)
    }

    fn has(self, kind: u8) -> bool {
        self.0 & kind != 0
    }
}
