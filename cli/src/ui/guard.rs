//! The last filter before a terminal: escapes control characters that a renderer has forgotten.

use std::fmt;
use std::io::{self, Write};
use std::str;

use super::sanitize;

/// Writer that passes visible text, newlines, tabs and colours (`ESC [ .. m`), and escapes the rest.
pub(crate) struct Guard<W: Write> {
    out: W,
    /// Start of an incomplete character or colour sequence.
    begun: Vec<u8>,
}

/// Our colour sequences are not longer.
const COLOUR_MOST: usize = 32;

impl<W: Write> Guard<W> {
    pub(crate) fn new(out: W) -> Self {
        Self {
            out,
            begun: Vec::new(),
        }
    }

    /// Writes `bytes`, and returns how many at the end are an incomplete sequence.
    fn pass(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut out = String::with_capacity(bytes.len());
        let mut done = 0;
        while done < bytes.len() {
            let rest = &bytes[done..];
            let plain = rest.iter().take_while(|byte| is_harmless(**byte)).count();
            if plain > 0 {
                out.push_str(str::from_utf8(&rest[..plain]).unwrap_or_default());
                done += plain;
                continue;
            }
            if rest[0] == 0x1b {
                match colour(rest) {
                    Colour::Whole(length) => {
                        out.push_str(str::from_utf8(&rest[..length]).unwrap_or_default());
                        done += length;
                    }
                    Colour::Begun => break,
                    Colour::None => {
                        out.push_str("\\x1b");
                        done += 1;
                    }
                }
                continue;
            }
            // One character, or invalid bytes.
            match first_char(rest) {
                Some(Ok(c)) => {
                    out.push_str(&sanitize::visible(c.encode_utf8(&mut [0; 4])));
                    done += c.len_utf8();
                }
                Some(Err(byte)) => {
                    let _ = fmt::Write::write_fmt(&mut out, format_args!("\\x{byte:02x}"));
                    done += 1;
                }
                None => break,
            }
        }
        self.out.write_all(out.as_bytes())?;
        Ok(bytes.len() - done)
    }
}

impl<W: Write> Write for Guard<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.begun.is_empty() {
            if bytes.iter().all(|byte| is_harmless(*byte)) {
                self.out.write_all(bytes)?;
                return Ok(bytes.len());
            }
            let left = self.pass(bytes)?;
            self.begun.extend_from_slice(&bytes[bytes.len() - left..]);
        } else {
            let mut all = std::mem::take(&mut self.begun);
            all.extend_from_slice(bytes);
            let left = self.pass(&all)?;
            self.begun = all.split_off(all.len() - left);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        for byte in std::mem::take(&mut self.begun) {
            write!(self.out, "\\x{byte:02x}")?;
        }
        self.out.flush()
    }
}

fn is_harmless(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\n' | b'\t')
}

enum Colour {
    /// A complete character or colour of this many bytes.
    Whole(usize),
    Begun,
    None,
}

fn colour(bytes: &[u8]) -> Colour {
    let Some(rest) = bytes.strip_prefix(b"\x1b[") else {
        return if bytes == b"\x1b" {
            Colour::Begun
        } else {
            Colour::None
        };
    };
    let is_parameter = |byte: &&u8| byte.is_ascii_digit() || **byte == b';';
    let parameters = rest
        .iter()
        .take(COLOUR_MOST)
        .take_while(is_parameter)
        .count();
    match rest.get(parameters) {
        Some(b'm') => Colour::Whole(parameters + 3),
        None if parameters < COLOUR_MOST => Colour::Begun,
        _ => Colour::None,
    }
}

/// Returns the first character, or an invalid byte; `None` if the character is incomplete.
fn first_char(bytes: &[u8]) -> Option<Result<char, u8>> {
    let first = &bytes[..bytes.len().min(4)];
    match str::from_utf8(first) {
        Ok(text) => text.chars().next().map(Ok),
        Err(error) if error.valid_up_to() > 0 => {
            let valid = str::from_utf8(&first[..error.valid_up_to()]);
            valid.unwrap_or_default().chars().next().map(Ok)
        }
        Err(error) if error.error_len().is_none() && first.len() == bytes.len() => None,
        Err(_) => Some(Err(bytes[0])),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Writes `text` in parts that end at `cuts`.
    fn guarded(bytes: &[u8], cuts: &[usize]) -> String {
        let mut out = Vec::new();
        let mut guard = Guard::new(&mut out);
        let mut rest = bytes;
        for cut in cuts {
            let (piece, after) = rest.split_at(cut % (rest.len() + 1));
            guard.write_all(piece).unwrap();
            rest = after;
        }
        guard.write_all(rest).unwrap();
        guard.flush().unwrap();
        drop(guard);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_passes_and_control_characters_do_not() {
        let page = "\x1b[2m# │ grüß\x1b[0m\n\tx \x1b[38;5;1mred\x1b[m\n";
        assert_eq!(guarded(page.as_bytes(), &[]), page);
        assert_eq!(
            guarded(b"a\x1b[2Jb\x1b]0;t\x07", &[]),
            "a\\x1b[2Jb\\x1b]0;t\\x07"
        );
        assert_eq!(
            guarded("\u{202e}\u{9b}31m\r".as_bytes(), &[]),
            "\\u202e\\u009b31m\\r"
        );
        assert_eq!(guarded(b"\xff\xc3", &[]), "\\xff\\xc3");
        assert_eq!(guarded(b"\x1b", &[]), "\\x1b");
    }

    proptest! {
        #[test]
        fn parts_give_the_same_output_as_the_whole(
            text in prop::collection::vec(prop_oneof![
                Just("\x1b[31m"), Just("\x1b"), Just("["), Just("m"), Just("│"), Just("\u{202e}"), Just("a"),
            ], 0..12),
            cuts in prop::collection::vec(0_usize..8, 0..8),
        ) {
            let text = text.concat();
            prop_assert_eq!(guarded(text.as_bytes(), &cuts), guarded(text.as_bytes(), &[]));
        }
    }
}
