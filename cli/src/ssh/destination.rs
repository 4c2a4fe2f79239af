//! A destination in OpenSSH's syntax: `HOST`, `user@HOST`, `user@HOST:port` or `ssh://user@HOST:port`.

use std::net::IpAddr;

use super::target::HostSelector;
use crate::error::CliError;
use crate::exit_code::Exit;

/// Maximum number of characters of a login user, as in the access log.
const LONGEST_USER: usize = 255;

/// A host, with the user and port that override the inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    wanted: HostSelector,
    user: Option<String>,
    port: Option<u16>,
}

impl Destination {
    /// Parses a destination.
    ///
    /// # Errors
    /// The host is missing, or the user or port is invalid.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (text, is_uri) = match text.strip_prefix("ssh://") {
            Some(rest) => (rest.strip_suffix('/').unwrap_or(rest), true),
            None => (text, false),
        };
        let (user, host) = match text.rsplit_once('@') {
            Some(("", _)) => return Err("the user before `@` is missing".to_owned()),
            Some((_, "")) => return Err("the host after `@` is missing".to_owned()),
            Some((user, host)) => (Some(user.to_owned()), host),
            None => (None, text),
        };
        let (host, port) = if user.is_some() || is_uri {
            host_and_port(host)?
        } else {
            (host, None)
        };
        Ok(Self {
            wanted: HostSelector::parse(host)?,
            user,
            port,
        })
    }

    /// Applies the user and port of `-l` and `-p`, which take precedence.
    #[must_use]
    pub(crate) fn or_rather(mut self, user: Option<&str>, port: Option<u16>) -> Self {
        self.user = user.map(str::to_owned).or(self.user);
        self.port = port.or(self.port);
        self
    }

    /// Lets the user confirm a host that is named by a part of its name, because a command runs there at once.
    #[must_use]
    pub(crate) fn for_command(mut self) -> Self {
        if let HostSelector::Part(host) = self.wanted {
            self.wanted = HostSelector::PartForCommand(host);
        }
        self
    }

    /// Returns the host. An address together with a user is used without the inventory.
    pub(crate) fn wanted(&self) -> HostSelector {
        match (&self.wanted, &self.user) {
            (HostSelector::Part(host) | HostSelector::PartForCommand(host), Some(user)) => {
                match host.parse::<IpAddr>() {
                    Ok(ip) => HostSelector::Address {
                        user: user.clone(),
                        addr: (ip, self.port.unwrap_or(22)).into(),
                    },
                    Err(_) => self.wanted.clone(),
                }
            }
            _ => self.wanted.clone(),
        }
    }

    /// Checks that the access log takes the user. Without this, an access of an outage could never be recorded.
    ///
    /// # Errors
    /// The user is too long, or has a NUL byte.
    pub(super) fn check(&self) -> Result<(), CliError> {
        let ((Some(user), _) | (None, HostSelector::Address { user, .. })) =
            (&self.user, &self.wanted)
        else {
            return Ok(());
        };
        let count = user.chars().count();
        let message = if user.contains('\0') {
            "the login user has a NUL byte, which the access log does not take".to_owned()
        } else if count > LONGEST_USER {
            format!(
                "the login user has {count} characters; the access log takes at most {LONGEST_USER}"
            )
        } else {
            return Ok(());
        };
        Err(CliError::new(Exit::Usage, message))
    }

    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    pub(super) fn port(&self) -> Option<u16> {
        self.port
    }
}

impl From<HostSelector> for Destination {
    fn from(wanted: HostSelector) -> Self {
        Self {
            wanted,
            user: None,
            port: None,
        }
    }
}

fn host_and_port(text: &str) -> Result<(&str, Option<u16>), String> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok((text, None));
    }
    let bracketed = text.strip_prefix('[').and_then(|text| text.split_once(']'));
    let (host, port) = match (bracketed, text.split_once(':')) {
        (Some((host, "")), _) => (host, None),
        (Some((host, rest)), _) => (host, Some(rest.strip_prefix(':').unwrap_or(rest))),
        (None, Some((host, port))) => (host, Some(port)),
        (None, None) => (text, None),
    };
    if host.is_empty() {
        return Err("the host before `:` is missing".to_owned());
    }
    let port = port.map(|port| match port.parse() {
        Ok(0) | Err(_) => Err(format!("`{}` is not a port", port.escape_debug())),
        Ok(port) => Ok(port),
    });
    Ok((host, port.transpose()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_with_a_user_bypasses_the_inventory() {
        for (text, user, addr) in [
            ("root@10.0.0.1", "root", "10.0.0.1:22"),
            ("root@10.0.0.1:2222", "root", "10.0.0.1:2222"),
            ("root@[fd00::1]:2222", "root", "[fd00::1]:2222"),
            ("root@[fd00::1]", "root", "[fd00::1]:22"),
            ("root@fd00::1", "root", "[fd00::1]:22"),
            ("a@b@10.0.0.1", "a@b", "10.0.0.1:22"),
            ("ssh://root@10.0.0.1:2222/", "root", "10.0.0.1:2222"),
        ] {
            let (user, addr) = (user.to_owned(), addr.parse().unwrap());
            let parsed = Destination::parse(text).unwrap().wanted();
            assert_eq!(parsed, HostSelector::Address { user, addr }, "{text}");
        }
        let with_options = Destination::parse("10.0.0.1").unwrap();
        let with_options = with_options.or_rather(Some("root"), Some(2222));
        let (user, addr) = ("root".to_owned(), "10.0.0.1:2222".parse().unwrap());
        assert_eq!(with_options.wanted(), HostSelector::Address { user, addr });
    }

    #[test]
    fn name_is_looked_up_in_the_inventory() {
        for (text, host, user, port) in [
            ("web-1", "web-1", None, None),
            ("root@web-1", "web-1", Some("root"), None),
            ("root@web-1:2222", "web-1", Some("root"), Some(2222)),
            ("ssh://web-1:2222", "web-1", None, Some(2222)),
            ("ssh://root@web-1", "web-1", Some("root"), None),
            ("10.0.0.1", "10.0.0.1", None, None),
            ("a@b@web-1", "web-1", Some("a@b"), None),
        ] {
            let parsed = Destination::parse(text).unwrap();
            assert_eq!(
                parsed.wanted(),
                HostSelector::Part(host.to_owned()),
                "{text}"
            );
            assert_eq!((parsed.user(), parsed.port()), (user, port), "{text}");
        }
        let parsed = Destination::parse("root@web-1:22").unwrap();
        let parsed = parsed.or_rather(Some("app"), Some(2222));
        assert_eq!((parsed.user(), parsed.port()), (Some("app"), Some(2222)));
    }

    #[test]
    fn user_that_the_access_log_refuses_is_refused() {
        let with = |user: &str| {
            let web = Destination::parse("web-1").unwrap();
            let address = Destination::parse(&format!("{user}@10.0.0.1")).unwrap();
            let checked = web.or_rather(Some(user), None).check();
            assert_eq!(checked.is_ok(), address.check().is_ok());
            checked.is_ok()
        };
        assert!(with(&"\u{e9}".repeat(255)));
        assert!(!with(&"a".repeat(256)));
        assert!(!with("a\0b"));
    }

    #[test]
    fn invalid_destinations_are_refused() {
        for text in [
            "",
            "@10.0.0.1",
            "root@",
            "root@10.0.0.1:0x16",
            "root@10.0.0.1:99999",
            "root@web-1:",
            "root@web-1:0",
            "root@:22",
            "ssh://",
            "root@[fd00::1]2222x",
        ] {
            assert!(Destination::parse(text).is_err(), "{text}");
        }
    }
}
