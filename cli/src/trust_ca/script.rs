//! The script that a host runs as root.

use std::collections::BTreeSet;
use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use crate::rbac::scope::Scope;
use crate::ssh_ca::{Authority, Source};

/// The fixed part of the script, after the functions and the variable.
const BODY: &str = include_str!("install.sh");

/// Delimiter of the here-documents.
const END: &str = "VCTL_END";

/// The CAs that a host's sshd shall trust and no longer trust.
#[derive(Clone, Debug)]
pub(crate) struct TrustSpec {
    /// The Vault that `wanted` come from.
    pub(crate) source: Source,
    pub(crate) wanted: Vec<Authority>,
    pub(crate) unwanted: Vec<Fingerprint>,
    /// The scopes whose certificates the host accepts; `None` leaves them as they are.
    pub(crate) scopes: Option<Vec<Scope>>,
    pub(crate) mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Apply,
    /// Only report the changes.
    Plan,
}

impl TrustSpec {
    /// Returns a specification that is applied and leaves the scopes as they are.
    pub(crate) fn new(source: Source, wanted: Vec<Authority>, unwanted: Vec<Fingerprint>) -> Self {
        Self {
            source,
            wanted,
            unwanted,
            scopes: None,
            mode: Mode::Apply,
        }
    }

    /// Returns the whole script. The inserted values are in quoted here-documents and cannot contain the delimiter, so no
    /// shell expands them.
    pub(crate) fn script(&self) -> String {
        let mut script = String::new();
        for authority in &self.wanted {
            let _ = writeln!(script, "# {}", self.source.describe(authority));
        }
        let wanted = self.wanted.iter();
        let wanted = wanted.map(|ca| format!("{} {}", ca.fingerprint(), ca.line()));
        function(&mut script, "wanted", wanted);
        let unwanted = self.unwanted.iter().map(ToString::to_string);
        function(&mut script, "unwanted", unwanted);
        function(&mut script, "principals", self.principals().into_iter());
        let scopes = if self.scopes.is_some() { "set" } else { "keep" };
        let _ = writeln!(script, "scopes={scopes}");
        let mode = match self.mode {
            Mode::Apply => "apply",
            Mode::Plan => "plan",
        };
        let _ = writeln!(script, "mode={mode}");
        script.push_str(BODY);
        script
    }

    /// Returns the arguments of sshd's `AuthorizedPrincipalsCommand` that become principals, in one line. sshd replaces
    /// `%u` by the account.
    fn principals(&self) -> Option<String> {
        let scopes = self.scopes.iter().flatten();
        let within: BTreeSet<String> = scopes
            .filter(|scope| !scope.place().is_empty())
            .map(|scope| scope.principal("%u"))
            .collect();
        if within.is_empty() {
            return None;
        }
        let all = ["%u".to_owned()].into_iter().chain(within);
        Some(all.collect::<Vec<String>>().join(" "))
    }
}

fn function(script: &mut String, name: &str, lines: impl Iterator<Item = String>) {
    let _ = writeln!(script, "{name}() {{\n    cat <<'{END}'");
    for line in lines {
        let _ = writeln!(script, "{line}");
    }
    let _ = writeln!(script, "{END}\n}}");
}

/// Fingerprint of a key, as OpenSSH prints it: `SHA256:` and 43 characters of base64.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fingerprint(String);

impl FromStr for Fingerprint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hash = text.strip_prefix("SHA256:");
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
        match hash {
            Some(hash) if hash.len() == 43 && hash.bytes().all(is_letter) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(
                "not a fingerprint; expected `SHA256:...`, as `ssh-keygen -lf FILE` and `vctl ca ssh-print -o name` print it",
            ),
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Fingerprint {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprint_has_no_character_for_a_shell() {
        let good = format!("SHA256:{}", "a+/9".repeat(11)[..43].to_owned());
        assert_eq!(good.parse::<Fingerprint>().unwrap().as_str(), good);
        for bad in [
            "",
            "SHA256:",
            "MD5:aa",
            "SHA256:$(id)",
            &good[..49],
            &format!("{good}a"),
        ] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn script_that_is_cut_short_does_nothing() {
        // A part of it only defines functions and calls none.
        let calls = BODY.lines().filter(|line| {
            !line.starts_with([' ', '#', '}']) && !line.is_empty() && !line.contains("() {")
        });
        let call = "{ vctl_trust_ca \"$@\" </dev/null; }";
        assert_eq!(calls.collect::<Vec<_>>(), [call]);
        assert!(BODY.trim_end().ends_with(call));
    }
}
