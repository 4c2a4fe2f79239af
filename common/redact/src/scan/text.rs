//! Reads command strings: several commands in one word.
use super::{Command, Next, Scan};
use crate::calls;
use crate::fields;
use crate::masker::Span;
use crate::names::NameKind;
use crate::shell::{Piece, Quote, Quotes, Splitter};
use crate::value::is_reference;

impl Scan<'_> {
    /// Reads the quoted parts of a word that is not quoted from end to end: `x="$(…)"`.
    pub(super) fn quoted_parts(&mut self, word: Span, depth: u8) {
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

    /// Reads `text` as a shell does and masks the secrets in each of its commands.
    pub(super) fn text(&mut self, text: Span, depth: u8) {
        if depth == 1 {
            fields::mask_json(&mut self.masker, text, &self.redactor.extra_names);
            fields::mask_elements(&mut self.masker, text, &self.redactor.extra_names);
            calls::mask(&mut self.masker, text);
        }
        let in_pem = self.in_pem;
        let mut splitter = Splitter::new(text);
        let mut command = Command::unnamed();
        let mut printed = None;
        let mut here = false;
        while let Some(piece) = splitter.next(self.masker.up_to(text.end)) {
            match piece {
                Piece::Word(word) if std::mem::take(&mut here) && command.is_fed() => {
                    self.mask_value(word, NameKind::Secret, depth);
                }
                Piece::Word(word) => {
                    self.ends_line = splitter.ends_line(self.masker.up_to(text.end));
                    self.word(&mut command, word, depth);
                    if let Some(output) = printed
                        && self.reads_secret(&command, word)
                    {
                        self.mask_printed(output, depth);
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
                    // `PASSWORD('…')`: in SQL the parenthesis ends no command.
                    if next == Next::Sql {
                        command.next = next;
                    }
                    printed = None;
                }
            }
        }
        // A key that starts in this string ends with it.
        self.in_pem = in_pem;
    }

    /// Masks everything that a command prints, except for the quotes around it: without them, a
    /// second pass would split the text differently.
    pub(super) fn mask_printed(&mut self, output: Span, depth: u8) {
        if is_reference(self.masker.get(output), NameKind::Secret, depth > 0) {
            return;
        }
        let mut rest = output;
        while !rest.is_empty() {
            let part = self.masker.run(rest, |byte| !matches!(byte, b'"' | b'\''));
            self.masker.mask(part);
            rest = rest.skip(part.len() + 1);
        }
    }

    fn printed_until_pipe(&self, start: usize, pipe: usize) -> Span {
        let text = self.masker.get(Span::new(start, pipe.saturating_sub(1)));
        Span::new(start, start + text.trim_ascii_end().len())
    }

    /// Returns whether `command` reads a secret from its standard input; `word` is its latest word.
    fn reads_secret(&self, command: &Command, word: Span) -> bool {
        let text = self.masker.get(word);
        command
            .program
            .stdin
            .iter()
            .any(|known| known.is_empty() || known.as_bytes() == text)
    }

    /// Reads the first words of a command in a command string.
    pub(super) fn start(
        &mut self,
        command: &mut Command,
        word: Span,
        quote: Option<Quote>,
    ) -> bool {
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
        // An assignment before a command; `inside` reads its value.
        if quote.is_none() && memchr::memchr(b'=', text).is_some() {
            return false;
        }
        // `{send "X"}`: the brace of Tcl.
        let name = text.strip_prefix(b"{").unwrap_or(text);
        if let Some(program) = self.redactor.programs.find(name) {
            command.switch_to(program);
            return true;
        }
        if quote.is_none() {
            // In Perl and PHP, a line may start with the variable that it sets.
            let name = text.strip_prefix(b"$").unwrap_or(text);
            command.next = self.announced(command, name);
        }
        command.started = true;
        false
    }
}
