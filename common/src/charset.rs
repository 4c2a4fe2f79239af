//! The characters that the locale can show: UTF-8, or ASCII alone.
//!
//! Only text for users is limited to them. JSON, CSV and HTML are UTF-8 in every locale, because
//! programs read them.

use std::borrow::Cow;
use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::escape::escaped;

/// False until [`set_from_environment`] runs, so that tests do not depend on their locale.
static LOCALE_IS_ASCII: AtomicBool = AtomicBool::new(false);

static OUTPUT_IS_FOR_PROGRAMS: AtomicBool = AtomicBool::new(false);

/// Sets the character set from the locale of this process.
pub fn set_from_environment() {
    let is_ascii = !is_utf8(|name| std::env::var_os(name));
    LOCALE_IS_ASCII.store(is_ascii, Ordering::Relaxed);
}

/// Makes output UTF-8 in every locale from now on, because a program reads it. Text for stderr
/// stays in the locale's characters.
pub fn write_for_programs() {
    OUTPUT_IS_FOR_PROGRAMS.store(true, Ordering::Relaxed);
}

/// Returns whether the locale shows only ASCII.
pub fn locale_is_ascii() -> bool {
    LOCALE_IS_ASCII.load(Ordering::Relaxed)
}

/// Returns whether output is only ASCII.
pub fn is_ascii() -> bool {
    locale_is_ascii() && !OUTPUT_IS_FOR_PROGRAMS.load(Ordering::Relaxed)
}

/// Returns whether a locale uses UTF-8. As in POSIX, the first variable that is set and not empty
/// decides; without one the locale is `C`.
fn is_utf8(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let mut values = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(variable);
    let locale = values.find(|value| !value.is_empty());
    let locale = locale.map(|locale| locale.to_string_lossy().into_owned());
    let locale = locale.unwrap_or_default();
    // On macOS, `UTF-8` alone is a locale.
    let codeset = locale
        .split_once('.')
        .map_or(&*locale, |(_, codeset)| codeset);
    let codeset = codeset.split('@').next().unwrap_or_default();
    codeset.replace('-', "").eq_ignore_ascii_case("utf8")
}

/// Returns vctl's own text in characters that the locale can show.
pub fn shown(text: &str) -> Cow<'_, str> {
    if is_ascii() {
        ascii(text)
    } else {
        Cow::Borrowed(text)
    }
}

/// Returns text in ASCII: signs that vctl uses become their usual ASCII forms, other characters
/// become escapes.
pub fn ascii(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c.is_ascii(), sign)
}

/// Returns the usual ASCII form of a sign.
pub fn sign(c: char) -> Option<&'static str> {
    Some(match c {
        '·' | '•' | '–' | '—' | '─' | '−' => "-",
        '…' => "...",
        'µ' | 'μ' => "u",
        '→' => "->",
        '←' => "<-",
        '↑' => "^",
        '↓' => "v",
        '└' => "`",
        '├' | '│' => "|",
        '×' => "x",
        '≤' => "<=",
        '≥' => ">=",
        '‘' | '’' => "'",
        '“' | '”' | '„' => "\"",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf8(locale: &[(&str, &str)]) -> bool {
        is_utf8(|name| {
            let value = locale.iter().find(|(known, _)| *known == name);
            value.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_first_variable_that_is_set_decides() {
        for (locale, expected) in [
            (&[("LANG", "C.UTF-8")][..], true),
            (&[("LANG", "ko_KR.utf8")], true),
            (&[("LANG", "ca_ES.UTF-8@valencia")], true),
            (&[("LC_CTYPE", "UTF-8")], true),
            (&[("LC_ALL", ""), ("LANG", "en_US.UTF-8")], true),
            (&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")], false),
            (&[("LC_CTYPE", "POSIX"), ("LANG", "en_US.UTF-8")], false),
            (&[("LC_ALL", "C.UTF-8"), ("LC_CTYPE", "C")], true),
            (&[("LANG", "de_DE.ISO-8859-1")], false),
            (&[("LANG", "ko_KR")], false),
            (&[], false),
        ] {
            assert_eq!(utf8(locale), expected, "{locale:?}");
        }
    }

    #[test]
    fn signs_are_typed_and_other_characters_spelled_out() {
        assert_eq!(ascii("seoul · 2 → 3"), "seoul - 2 -> 3");
        assert_eq!(ascii("├─ a\n└─ 450µs…"), "|- a\n`- 450us...");
        assert_eq!(ascii("grün 🦀"), "gr\\u00fcn \\U0001f980");
        assert!(matches!(ascii("plain"), Cow::Borrowed(_)));
    }
}
