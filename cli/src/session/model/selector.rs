//! Sessions named on the command line.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;
use vctl_common::id::{CertSerial, SessionId};

/// All sessions of a certificate, or one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selector {
    Serial(CertSerial),
    Id(SessionId),
}

/// A session argument of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionName {
    Whole(Selector),
    /// The first digits of a session id, as lists on a narrow terminal show them.
    Prefix(Prefix),
}

/// The first digits of a session id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    /// The digits, padded with zeros.
    first: u128,
    digits: usize,
}

const DIGITS: usize = 32;
/// With fewer digits the argument is taken for a typing error.
const FEWEST: usize = 4;
/// Numbers of digits after which an id has a hyphen.
const HYPHENS: [usize; 4] = [8, 12, 16, 20];

impl Prefix {
    /// Returns the lowest and the highest id with this prefix.
    pub(crate) fn range(self) -> (SessionId, SessionId) {
        let rest = u128::MAX.checked_shr(4 * u32::try_from(self.digits).unwrap_or(0));
        let last = self.first | rest.unwrap_or(0);
        let id = |number| SessionId::from_uuid(Uuid::from_u128(number));
        (id(self.first), id(last))
    }

    pub(crate) fn matches(self, id: SessionId) -> bool {
        let (first, last) = self.range();
        (first.as_uuid()..=last.as_uuid()).contains(&id.as_uuid())
    }
}

impl FromStr for Prefix {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (mut first, mut digits) = (0_u128, 0);
        for c in text.chars() {
            if c == '-' && HYPHENS.contains(&digits) {
                continue;
            }
            let digit = c.to_digit(16).filter(|_| digits < DIGITS).ok_or(())?;
            first = first << 4 | u128::from(digit);
            digits += 1;
        }
        if digits < FEWEST {
            return Err(());
        }
        first = first
            .checked_shl(4 * u32::try_from(DIGITS - digits).unwrap_or(0))
            .unwrap_or(0);
        Ok(Self { first, digits })
    }
}

impl FromStr for SessionName {
    type Err = String;

    /// Parses a number as a serial unless it starts with `0`: serials never do, and session ids will for decades.
    fn from_str(text: &str) -> Result<Self, String> {
        let is_serial = !text.starts_with('0');
        if let Some(serial) = text.parse().ok().filter(|_| is_serial) {
            return Ok(Self::Whole(Selector::Serial(serial)));
        }
        if let Ok(id) = text.parse() {
            return Ok(Self::Whole(Selector::Id(id)));
        }
        text.parse().map(Self::Prefix).map_err(|()| {
            "not a certificate serial (1 to 18446744073709551615), a session id (a UUID) or the first digits of one \
             (at least four)"
                .to_owned()
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial(serial) => write!(f, "certificate {serial}"),
            Self::Id(id) => write!(f, "id {id}"),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = format!("{:032x}", self.first);
        for (index, digit) in whole.chars().take(self.digits).enumerate() {
            let hyphen = if HYPHENS.contains(&index) { "-" } else { "" };
            write!(f, "{hyphen}{digit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0193f3a1-7c4e-7d61-9f0a-2b5c6d7e8f90";

    fn begin(text: &str) -> Prefix {
        match text.parse() {
            Ok(SessionName::Prefix(prefix)) => prefix,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn every_prefix_of_an_id_matches_it() {
        let id: SessionId = ID.parse().unwrap();
        for length in 4..ID.len() {
            let prefix = begin(&ID[..length]);
            assert!(prefix.matches(id), "{prefix}");
            assert_eq!(prefix.to_string(), ID[..length].trim_end_matches('-'));
        }
        assert_eq!(begin("0193F3A17C4E").to_string(), "0193f3a1-7c4e");
        assert!(!begin("0193f3a2").matches(id));
        assert_eq!(ID.parse(), Ok(SessionName::Whole(Selector::Id(id))));
        let nearly = begin("0193f3a17c4e7d619f0a2b5c6d7e8f9");
        assert_eq!(nearly.range().1.to_string(), format!("{}f", &ID[..35]));
    }

    #[test]
    fn number_without_a_leading_zero_is_a_serial() {
        let serial = |number| {
            Ok(SessionName::Whole(Selector::Serial(
                CertSerial::new(number).unwrap(),
            )))
        };
        assert_eq!("7341".parse(), serial(7341));
        assert_eq!("18446744073709551615".parse(), serial(u64::MAX));
        assert_eq!(begin("01931234").to_string(), "01931234");
        for wrong in [
            "",
            "0",
            "019",
            "host",
            "0193-f3a1",
            "18446744073709551616x",
            "0193f3a1_7c4e",
        ] {
            assert!(wrong.parse::<SessionName>().is_err(), "{wrong}");
        }
    }
}
