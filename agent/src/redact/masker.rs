//! The bytes under redaction, and the only place that changes them.
use std::ops::Range;

/// Where something stands in the argv buffer.
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

    /// The part from `offset` bytes after the start.
    pub(super) fn skip(self, offset: usize) -> Self {
        Self::new((self.start + offset).min(self.end), self.end)
    }

    pub(super) fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// Reads anywhere in the argv and overwrites spans with `*`, never across a NUL.
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

    /// Everything before `end`, for code that reads on from a position of its own.
    pub(super) fn up_to(&self, end: usize) -> &[u8] {
        self.bytes.get(..end).unwrap_or_default()
    }

    /// Where the first `wanted` in `span` starts.
    pub(super) fn find(&self, span: Span, wanted: &[u8]) -> Option<usize> {
        let text = self.bytes.get(span.range()).unwrap_or_default();
        // A general search costs more to set up than most of our texts take to read.
        let first = *wanted.first()?;
        let at = memchr::memchr_iter(first, text)
            .find(|&at| text.get(at..).is_some_and(|rest| rest.starts_with(wanted)));
        step(at.unwrap_or(text.len()));
        at.map(|at| span.start + at)
    }

    /// The longest start of `span` whose bytes all pass.
    pub(super) fn run(&self, span: Span, pass: impl Fn(u8) -> bool) -> Span {
        let text = self.bytes.get(span.range()).unwrap_or_default();
        let len = text.iter().take_while(|&&byte| pass(byte)).count();
        step(len);
        Span::new(span.start, span.start + len)
    }

    /// The longest end of `span` whose bytes all pass.
    pub(super) fn run_back(&self, span: Span, pass: impl Fn(u8) -> bool) -> Span {
        let text = self.bytes.get(span.range()).unwrap_or_default();
        let len = text.iter().rev().take_while(|&&byte| pass(byte)).count();
        step(len);
        Span::new(span.end - len, span.end)
    }

    pub(super) fn rest(&self, start: usize) -> &[u8] {
        self.bytes.get(start..).unwrap_or_default()
    }

    /// The byte at `at`; past the end a NUL, which no rule looks for.
    pub(super) fn at(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    pub(super) fn mask(&mut self, span: Span) {
        for byte in self.bytes.get_mut(span.range()).unwrap_or_default() {
            // Spans come from within one item; this keeps a wrong one from joining two.
            if *byte != b'*' && *byte != 0 {
                *byte = b'*';
                self.changed = true;
            }
        }
    }
}

/// Notes that about so many bytes are read; the tests hold the sum against the length of the argv.
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
