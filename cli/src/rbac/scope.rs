//! The scope of a grant: the hosts and accounts that `ssh:dc=seoul-onprem,user=root` covers.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use thiserror::Error;
use vctl_common::glob;

/// Commands that take a scope. `proxy`, the agent socket and remote commands of programs use the grant of `ssh`.
pub(crate) const SCOPED_COMMANDS: [&str; 1] = ["ssh"];

/// Maximum length of one value, as of a host name in the inventory.
const MAX_VALUE: usize = 63;

/// Maximum length of a command, as in `vctl.rbac_grants`.
const MAX_COMMAND: usize = 64;

/// Conditions on the target of a login. All of them must match; without any, every target matches.
///
/// Equal scopes have equal text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Scope {
    dc: Option<String>,
    host: Option<String>,
    user: Option<String>,
}

/// The target that a scope is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// Data centre of the host in the inventory; empty for a host outside it.
    pub(crate) dc: &'a str,
    /// Name of the host in the inventory.
    pub(crate) host: &'a str,
    /// Login name on the host.
    pub(crate) user: &'a str,
}

/// A command and the targets it is allowed for: `COMMAND[:SCOPE]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Grant {
    /// `*` or the name of a command. The caller checks that the command exists.
    pub(crate) command: String,
    pub(crate) scope: Scope,
}

impl Grant {
    /// Returns whether the grant permits a command, on this target if the command has one.
    pub(crate) fn permits(&self, command: &str, target: Option<&Target<'_>>) -> bool {
        let covers = |to| self.scope.matches(to);
        (self.command == "*" || self.command == command)
            && (self.scope.is_everything() || target.is_some_and(covers))
    }
}

/// The reason why a text is not a scope or a grant.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ScopeError {
    #[error("the scope is empty; expected conditions such as `dc=NAME`, or no `:`")]
    Empty,
    #[error("`{0}` is not a condition; expected `dc=NAME`, `host=PATTERN` or `user=NAME`")]
    NotACondition(String),
    #[error("`{0}` is not a condition of a scope; the conditions are `dc`, `host` and `user`")]
    UnknownKey(String),
    #[error("the condition `{0}` is given twice; a scope has each condition at most once")]
    Twice(&'static str),
    #[error("the value of `{0}` is empty")]
    EmptyValue(&'static str),
    #[error("the value of `{key}` has {length} characters; the limit is {MAX_VALUE}")]
    TooLong { key: &'static str, length: usize },
    #[error(
        "the value of `{key}` contains `{character}`; allowed are letters and digits of ASCII, `.`, `_`, `-`{extra}"
    )]
    Character {
        key: &'static str,
        /// Escaped: it may be a newline.
        character: String,
        extra: &'static str,
    },
    #[error("the value of `{0}` begins or ends with a character other than a letter or digit")]
    Edge(&'static str),
    #[error("`{0}` is not the name of a command")]
    Command(String),
    #[error("the command has {0} characters; the limit is {MAX_COMMAND}")]
    LongCommand(usize),
    #[error("`{0}` takes no scope; only `ssh` takes one")]
    Unscoped(String),
}

impl Scope {
    /// Returns whether the scope has no condition.
    pub(crate) fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn dc(&self) -> Option<&str> {
        self.dc.as_deref()
    }

    /// Returns the pattern of host names, in lower case.
    pub(crate) fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// Returns the only login name that the scope covers, if it names one.
    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Returns whether all conditions match the target.
    pub(crate) fn matches(&self, target: &Target<'_>) -> bool {
        let user = self.user();
        self.matches_host(target.dc, target.host) && user.is_none_or(|user| user == target.user)
    }

    /// Returns whether the conditions on data centre and host name match.
    pub(crate) fn matches_host(&self, dc: &str, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.dc().is_none_or(|wanted| wanted == dc)
            && self
                .host()
                .is_none_or(|pattern| glob::matches(pattern.as_bytes(), host.as_bytes()))
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let mut scope = Self::default();
        if text.is_empty() {
            return Ok(scope);
        }
        for condition in text.split(',') {
            let (key, value) = condition
                .split_once('=')
                .ok_or_else(|| ScopeError::NotACondition(escaped(condition)))?;
            let (key, place) = match key {
                "dc" => ("dc", &mut scope.dc),
                "host" => ("host", &mut scope.host),
                "user" => ("user", &mut scope.user),
                _ => return Err(ScopeError::UnknownKey(escaped(key))),
            };
            if place.is_some() {
                return Err(ScopeError::Twice(key));
            }
            *place = Some(checked(key, value)?);
        }
        Ok(scope)
    }
}

/// Returns the value as it is stored. The characters are safe in a name of Vault, in a principal, and in sshd's
/// configuration.
fn checked(key: &'static str, value: &str) -> Result<String, ScopeError> {
    let length = value.chars().count();
    if length == 0 {
        return Err(ScopeError::EmptyValue(key));
    }
    if length > MAX_VALUE {
        return Err(ScopeError::TooLong { key, length });
    }
    let is_pattern = key == "host";
    let is_glob = |c: char| is_pattern && (c == '*' || c == '?');
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c) || is_glob(c);
    if let Some(character) = value.chars().find(|&c| !is_allowed(c)) {
        return Err(ScopeError::Character {
            key,
            character: escaped(&character.to_string()),
            extra: if is_pattern { ", `*` and `?`" } else { "" },
        });
    }
    let is_edge = |c: char| c.is_ascii_alphanumeric() || c == '_' || is_glob(c);
    if !value.starts_with(is_edge) || !value.ends_with(is_edge) {
        return Err(ScopeError::Edge(key));
    }
    // The inventory has host names in lower case.
    Ok(if is_pattern {
        value.to_ascii_lowercase()
    } else {
        value.to_owned()
    })
}

/// Returns at most 40 characters of the text, with escaped control characters and quotes.
fn escaped(text: &str) -> String {
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short.push('\u{2026}');
    }
    short.escape_debug().to_string()
}

impl fmt::Display for Scope {
    /// Writes the conditions in the order `dc`, `host`, `user`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conditions = [("dc", &self.dc), ("host", &self.host), ("user", &self.user)];
        let mut is_first = true;
        for (key, value) in conditions {
            let Some(value) = value else { continue };
            if !is_first {
                f.write_char(',')?;
            }
            write!(f, "{key}={value}")?;
            is_first = false;
        }
        Ok(())
    }
}

impl FromStr for Grant {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let (command, scope) = match text.split_once(':') {
            Some((_, "")) => return Err(ScopeError::Empty),
            Some((command, scope)) => (command, scope),
            None => (text, ""),
        };
        if command.chars().count() > MAX_COMMAND {
            return Err(ScopeError::LongCommand(command.chars().count()));
        }
        let is_name = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_lowercase())
                && text.chars().all(|c| c.is_ascii_lowercase() || c == '-')
        };
        if command != "*" && !is_name(command) {
            return Err(ScopeError::Command(escaped(command)));
        }
        if !scope.is_empty() && !SCOPED_COMMANDS.contains(&command) {
            return Err(ScopeError::Unscoped(command.to_owned()));
        }
        Ok(Self {
            command: command.to_owned(),
            scope: scope.parse()?,
        })
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.command)?;
        if self.scope.is_everything() {
            return Ok(());
        }
        write!(f, ":{}", self.scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        text.parse().unwrap()
    }

    #[test]
    fn equal_scopes_have_equal_text() {
        for (text, canonical) in [
            ("", ""),
            ("dc=seoul-onprem", "dc=seoul-onprem"),
            ("user=root,dc=a", "dc=a,user=root"),
            ("user=root,host=WEB-*,dc=A_1", "dc=A_1,host=web-*,user=root"),
            ("host=?b", "host=?b"),
        ] {
            assert_eq!(scope(text).to_string(), canonical, "{text}");
            assert_eq!(scope(canonical), scope(text), "{text}");
        }
    }

    #[test]
    fn all_conditions_must_match() {
        let web = |user| Target {
            dc: "seoul",
            host: "web-1",
            user,
        };
        for (text, user, wanted) in [
            ("", "root", true),
            ("dc=seoul", "root", true),
            ("dc=Seoul", "root", false),
            ("dc=seou", "root", false),
            ("host=web-1", "root", true),
            ("host=web", "root", false),
            ("host=web-*", "root", true),
            ("host=WEB-?", "root", true),
            ("host=web-??", "root", false),
            ("host=*", "root", true),
            ("host=*-1", "root", true),
            ("host=*b*1*", "root", true),
            ("host=*b*2*", "root", false),
            ("host=db-*", "root", false),
            ("user=root", "root", true),
            ("user=root", "ubuntu", false),
            ("user=root", "Root", false),
            ("dc=seoul,host=web-*,user=root", "root", true),
            ("dc=seoul,host=web-*,user=root", "ubuntu", false),
            ("dc=busan,host=web-*,user=root", "root", false),
            ("dc=seoul,host=db-*,user=root", "root", false),
        ] {
            assert_eq!(scope(text).matches(&web(user)), wanted, "{text} {user}");
        }
    }

    #[test]
    fn host_outside_the_inventory_has_no_data_centre() {
        let target = Target {
            dc: "",
            host: "192.0.2.1",
            user: "root",
        };
        assert!(!scope("dc=seoul").matches(&target));
        assert!(scope("user=root").matches(&target));
    }

    #[test]
    fn pattern_with_many_stars_takes_little_time() {
        let pattern = "*a".repeat(31);
        let text = "a".repeat(30) + &"b".repeat(33);
        assert!(!glob::matches(pattern.as_bytes(), text.as_bytes()));
    }

    #[test]
    fn text_that_is_not_a_scope_is_refused_with_the_reason() {
        let long = format!("host={}", "a".repeat(200));
        for (text, reason) in [
            ("dc", "`dc` is not a condition; expected `dc=NAME`"),
            (",dc=a", "`` is not a condition"),
            ("dc=a,", "`` is not a condition"),
            ("role=x", "`role` is not a condition of a scope"),
            ("DC=x", "`DC` is not a condition of a scope"),
            ("dc=a,dc=b", "`dc` is given twice"),
            ("dc=", "the value of `dc` is empty"),
            ("user='root'", "the value of `user` contains `\\'`"),
            ("dc=a\nb", "the value of `dc` contains `\\n`"),
            ("host=\u{1b}[31m", "the value of `host` contains `\\u{1b}`"),
            ("host=a\u{202e}b", "the value of `host` contains"),
            ("host=a b", "`-`, `*` and `?`"),
            ("dc=a*", "the value of `dc` contains `*`"),
            ("user=r?", "the value of `user` contains `?`"),
            ("user=a@b", "the value of `user` contains `@`"),
            ("dc=서울", "the value of `dc` contains `서`"),
            ("user=-oX", "the value of `user` begins or ends with"),
            ("host=web-", "the value of `host` begins or ends with"),
            ("dc=a=b", "the value of `dc` contains `=`"),
            (&*long, "`host` has 200 characters; the limit is 63"),
        ] {
            let error = text.parse::<Scope>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
            assert!(!error.contains(char::is_control), "{text:?}: {error:?}");
        }
    }

    #[test]
    fn grant_is_a_command_and_a_scope() {
        for (text, canonical) in [
            ("*", "*"),
            ("trust-ca", "trust-ca"),
            ("ssh", "ssh"),
            ("ssh:user=root,dc=a", "ssh:dc=a,user=root"),
        ] {
            let grant: Grant = text.parse().unwrap();
            assert_eq!(grant.to_string(), canonical, "{text}");
            assert_eq!(canonical.parse(), Ok(grant), "{text}");
        }
    }

    #[test]
    fn text_that_is_not_a_grant_is_refused_with_the_reason() {
        let long = "a".repeat(200);
        for (text, reason) in [
            ("", "`` is not the name of a command"),
            ("ssh:", "the scope is empty"),
            (":dc=a", "`` is not the name of a command"),
            ("s'sh", "`s\\'sh` is not the name of a command"),
            ("ssh\n", "`ssh\\n` is not the name of a command"),
            ("SSH", "`SSH` is not the name of a command"),
            ("prune:dc=a", "`prune` takes no scope; only `ssh` takes one"),
            ("*:dc=a", "`*` takes no scope"),
            ("ssh:dc=a:b", "the value of `dc` contains `:`"),
            ("ssh:everything", "`everything` is not a condition"),
            (&*long, "the command has 200 characters; the limit is 64"),
        ] {
            let error = text.parse::<Grant>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
            assert!(!error.contains(char::is_control), "{text:?}: {error:?}");
        }
    }
}
