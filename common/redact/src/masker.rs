//! The argv that is redacted. Only this module changes its bytes.
use std::ops::Range;

/// A range in the argv buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self {
            start,
            end: end.max(start),
        }
    }

    pub(super) fn len(self) -> usize {
        self.end - self.start
    }

    pub(super) fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Returns the part that begins `offset` bytes after the start.
    pub(super) fn skip(self, offset: usize) -> Self {
        Self::new((self.start + offset).min(self.end), self.end)
    }

    pub(super) fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// Reads the whole argv and overwrites spans with `*`, but never a NUL.
pub(super) struct Masker<'a> {
    bytes: &'a mut [u8],
    changed: bool,
}

impl<'a> Masker<'a> {
    pub(super) fn new(bytes: &'a mut [u8]) -> Self {
        Self {
            bytes,
            changed: false,
        }
    }

    pub(super) fn changed(&self) -> bool {
        self.changed
    }

    pub(super) fn get(&self, span: Span) -> &[u8] {
        step(span.len());
        self.bytes.get(span.range()).unwrap_or_default()
    }

    /// Returns everything before `end`, for callers with a position of their own.
    pub(super) fn up_to(&self, end: usize) -> &[u8] {
        self.bytes.get(..end).unwrap_or_default()
    }

    /// Returns the start of the first `wanted` in `span`.
    pub(super) fn find(&self, span: Span, wanted: &[u8]) -> Option<usize> {
        let text = self.bytes.get(span.range()).unwrap_or_default();
        // The setup of a general search costs more than reading most of these texts.
        let first = *wanted.first()?;
        let at = memchr::memchr_iter(first, text)
            .find(|&at| text.get(at..).is_some_and(|rest| rest.starts_with(wanted)));
        step(at.unwrap_or(text.len()));
        at.map(|at| span.start + at)
    }

    /// Returns the longest start of `span` whose bytes all pass.
    pub(super) fn run(&self, span: Span, pass: impl Fn(u8) -> bool) -> Span {
        let text = self.bytes.get(span.range()).unwrap_or_default();
        let len = text.iter().take_while(|&&byte| pass(byte)).count();
        step(len);
        Span::new(span.start, span.start + len)
    }

    /// Returns the longest end of `span` whose bytes all pass.
    pub(super) fn run_back(&self, span: Span, pass: impl Fn(u8) -> bool) -> Span {
        let text = self.bytes.get(span.range()).unwrap_or_default();
        let len = text.iter().rev().take_while(|&&byte| pass(byte)).count();
        step(len);
        Span::new(span.end - len, span.end)
    }

    pub(super) fn rest(&self, start: usize) -> &[u8] {
        self.bytes.get(start..).unwrap_or_default()
    }

    /// Returns the byte at `at`; after the end a NUL, which no rule looks for.
    pub(super) fn at(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    pub(super) fn mask(&mut self, span: Span) {
        for byte in self.bytes.get_mut(span.range()).unwrap_or_default() {
            // Spans are within one item; the test for NUL protects against a wrong span that would
            // join two.
            if *byte != b'*' && *byte != 0 {
                *byte = b'*';
                self.changed = true;
            }
        }
    }
}

/// Counts bytes that are read; the tests compare the sum with the length of the argv.
#[cfg_attr(not(test), expect(unused_variables, reason = "only tests count"))]
#[inline]
pub(super) fn step(bytes: usize) {
    #[cfg(test)]
    STEPS.with(|steps| steps.set(steps.get() + bytes + 1));
}

#[cfg(test)]
thread_local! {
    pub(super) static STEPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}
