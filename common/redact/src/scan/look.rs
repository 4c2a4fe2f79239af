//! Masks text that is secret by its own form, whatever precedes it.
use super::{Command, MAX_DEPTH, Scan};
use crate::calls;
use crate::fields::{self, after_pem_begin};
use crate::masker::Span;
use crate::{hash, shape, url};

impl Scan<'_> {
    /// Masks text that is secret by its own form, whatever precedes it.
    ///
    /// `whole`: the word has no quotes of its own, so its inside can be split again.
    pub(super) fn inside(&mut self, command: &mut Command, word: Span, whole: bool, depth: u8) {
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
        if depth == 0 && !text && seen.has(Seen::TAG) {
            fields::mask_elements(&mut self.masker, word, names);
        }
        if depth == 0 && !text && seen.has(Seen::QUOTE) {
            calls::mask(&mut self.masker, word);
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
            if !text {
                url::mask_login(&mut self.masker, word);
            }
        }
        if seen.has(Seen::HASH) {
            self.hashes(word);
        }
        self.shapes(word);
    }

    /// Masks password hashes in the form of crypt(5).
    fn hashes(&mut self, word: Span) {
        let mut from = 0;
        while let Some((start, end)) = hash::find(self.masker.get(word.skip(from))) {
            self.masker.mask(Span::new(
                word.start + from + start,
                word.start + from + end,
            ));
            from += end;
        }
    }

    /// Masks a header, also as the value of an assignment: `http.extraHeader=Name: value`.
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

    pub(super) fn shapes(&mut self, word: Span) {
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

    /// Masks a PEM private key. Without quotes, it continues in the next words.
    fn pem(&mut self, word: Span) {
        let text = self.masker.get(word);
        let start = if self.in_pem {
            Some(0)
        } else {
            after_pem_begin(text)
        };
        let Some(start) = start else { return };
        let body = Span::new(word.start + start, word.end);
        let end = self.masker.find(body, b"-----END");
        // A key continues only if its header was split into words: in `grep 'PRIVATE KEY-----'
        // file`, the file is not a key.
        self.in_pem = end.is_none() && (self.in_pem || body.is_empty() && text.starts_with(b"KEY"));
        self.masker
            .mask(Span::new(body.start, end.unwrap_or(body.end)));
    }
}

/// Kinds of bytes in a word; they decide which searches are needed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen(u8);

impl Seen {
    const EQUALS: u8 = 1;
    const COLON: u8 = 2;
    const SPACE: u8 = 4;
    const QUOTE: u8 = 8;
    const PEM: u8 = 16;
    const TAG: u8 = 32;
    const HASH: u8 = 64;

    const CLASS: [u8; 256] = {
        let mut class = [0; 256];
        class[b'=' as usize] = Self::EQUALS;
        class[b':' as usize] = Self::COLON;
        class[b' ' as usize] = Self::SPACE;
        class[b'\t' as usize] = Self::SPACE;
        class[b'\n' as usize] = Self::SPACE;
        class[b'"' as usize] = Self::QUOTE;
        class[b'\'' as usize] = Self::QUOTE;
        class[b'<' as usize] = Self::TAG;
        class[b'$' as usize] = Self::HASH;
        class[b'{' as usize] = Self::HASH;
        class
    };

    pub(super) fn of(text: &[u8]) -> Self {
        let mut seen = text
            .iter()
            .fold(0, |seen, &byte| seen | Self::CLASS[usize::from(byte)]);
        if (seen & Self::SPACE != 0 || text.starts_with(b"KEY-----"))
            && after_pem_begin(text).is_some()
        {
            seen |= Self::PEM;
        }
        Self(seen)
    }

    pub(super) fn is_nothing(self) -> bool {
        self.0 == 0
    }

    fn has(self, kind: u8) -> bool {
        self.0 & kind != 0
    }
}
