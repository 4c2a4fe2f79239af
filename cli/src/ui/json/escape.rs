//! JSON that is safe on a terminal.
//!
//! JSON requires escapes only for controls below U+0020. C1 controls, bidi controls and other invisible
//! characters are written as `\uNNNN` too; the value stays the same.

use std::io::{self, Write};

use serde_json::Serializer;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use crate::ui::sanitize;

pub(super) fn pretty<W: Write>(out: W) -> Serializer<W, Visible<PrettyFormatter<'static>>> {
    Serializer::with_formatter(out, Visible::new(PrettyFormatter::new()))
}

pub(super) fn compact<W: Write>(out: W) -> Serializer<W, Visible<CompactFormatter>> {
    Serializer::with_formatter(out, Visible::new(CompactFormatter))
}

/// Like `compact`, for a script in HTML: the text cannot end the script or begin a comment.
pub(super) fn embedded<W: Write>(out: W) -> Serializer<W, Visible<CompactFormatter>> {
    let formatter = Visible {
        inner: CompactFormatter,
        special: &['<', '>', '&'],
        long: false,
    };
    Serializer::with_formatter(out, formatter)
}

/// A formatter that escapes characters that are not plainly visible.
pub(super) struct Visible<F> {
    inner: F,
    /// Visible characters that are escaped too.
    special: &'static [char],
    /// Whether to write YAML escapes: eight digits instead of surrogates.
    long: bool,
}

impl<F> Visible<F> {
    pub(super) fn new(inner: F) -> Self {
        Self {
            inner,
            special: &[],
            long: false,
        }
    }

    /// Writes the escapes of YAML, which differ from those of JSON beyond 16 bits.
    pub(super) fn for_yaml(inner: F) -> Self {
        Self {
            long: true,
            ..Self::new(inner)
        }
    }
}

impl<F: Formatter> Formatter for Visible<F> {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut plain = 0;
        for (index, c) in fragment.char_indices() {
            if sanitize::is_visible(c) && !self.special.contains(&c) {
                continue;
            }
            out.write_all(&fragment.as_bytes()[plain..index])?;
            if self.long && c > '\u{ffff}' {
                write!(out, "\\U{:08x}", u32::from(c))?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
            plain = index + c.len_utf8();
        }
        out.write_all(&fragment.as_bytes()[plain..])
    }

    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.inner.begin_array(out)
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.inner.end_array(out)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.inner.begin_array_value(out, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.inner.end_array_value(out)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.inner.begin_object(out)
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.inner.end_object(out)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.inner.begin_object_key(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.inner.begin_object_value(out)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.inner.end_object_value(out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Serialize as _;

    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        text.serialize(&mut compact(&mut out)).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn invisible_characters_are_escaped_in_json() {
        assert_eq!(
            written("a\u{9b}\u{202e}\u{e0041}b"),
            r#""a\u009b\u202e\udb40\udc41b""#
        );
        assert_eq!(written("\x7f\n"), r#""\u007f\n""#);
    }

    proptest! {
        #[test]
        fn json_is_safe_and_parses_to_the_same_value(text in any::<String>()) {
            let json = written(&text);
            prop_assert!(json.chars().all(sanitize::is_visible), "{json:?}");
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
