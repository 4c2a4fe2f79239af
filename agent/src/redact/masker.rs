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
        self.bytes.get(span.range()).unwrap_or_default()
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
