//! A person, by the name that Vault gives the holder of a token.

use std::fmt;

/// Vault's complete display name of a person: `oidc-albert`.
///
/// It comes from a certificate's key id or a database login, so it is hostile until it is escaped,
/// like all text from outside.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Person(String);

impl Person {
    pub fn new(display_name: impl Into<String>) -> Self {
        Self(display_name.into())
    }

    /// Returns the complete name, which distinguishes `oidc-albert` from `userpass-albert`.
    pub fn display_name(&self) -> &str {
        &self.0
    }

    /// Returns the name to show, without the auth mount before the first hyphen. A name without a
    /// mount (of a root token) stays as it is.
    ///
    /// `vctl.person()` in the database has the same rule.
    pub fn name(&self) -> &str {
        match self.0.split_once('-') {
            Some((mount, name)) if !mount.is_empty() && !name.is_empty() => name,
            _ => &self.0,
        }
    }

    /// Returns whether a search for `name` finds this person.
    pub fn is_called(&self, name: &str) -> bool {
        name == self.name() || name == self.display_name()
    }
}

impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_is_not_a_part_of_the_shown_name() {
        for (whole, shown) in [
            ("oidc-albert", "albert"),
            ("userpass-anna-lena", "anna-lena"),
            ("root", "root"),
            ("oidc-", "oidc-"),
            ("-x", "-x"),
            ("", ""),
        ] {
            assert_eq!(Person::new(whole).name(), shown);
        }
    }

    #[test]
    fn a_person_is_called_by_the_shown_and_by_the_whole_name() {
        let albert = Person::new("oidc-albert");
        assert!(albert.is_called("albert") && albert.is_called("oidc-albert"));
        assert!(!albert.is_called("bert") && !albert.is_called("userpass-albert"));
    }
}
