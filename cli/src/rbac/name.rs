//! Names of groups and users, checked before they are sent to the database.

use std::path::Path;

use super::command::{GatedCommand, grantable};
use super::model::User;
use super::scope::{Grant, ScopeError};
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::ui::sanitize;
use vctl_common::person::Person;

/// Maximum length of a group's name, as in `vctl.rbac_groups`.
const MAX_GROUP: usize = 63;
const MAX_USER: usize = 1_024;
const MAX_DESCRIPTION: usize = 1_024;

/// Parses the name of a group.
pub(crate) fn group(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if length == 0 {
        return Err("the name of the group is empty".to_owned());
    }
    if length > MAX_GROUP {
        return Err(format!(
            "the name of the group has {length} characters; the limit is {MAX_GROUP}"
        ));
    }
    let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let inner = |b: u8| edge(b) || matches!(b, b'.' | b'_' | b'-');
    let bytes = text.as_bytes();
    if bytes.first().is_some_and(|&first| edge(first)) && bytes.iter().all(|&b| inner(b)) {
        return Ok(text.to_owned());
    }
    let text = sanitize::text(text);
    Err(format!(
        "`{text}` is not the name of a group: a name has a-z, 0-9, `.`, `_` and `-`, and begins with a letter or digit"
    ))
}

/// Parses the name of a user: a display name in Vault, or the part after the auth mount.
pub(crate) fn user(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if length == 0 {
        return Err("the name of the user is empty".to_owned());
    }
    if length > MAX_USER {
        return Err(format!(
            "the name of the user has {length} characters; the limit is {MAX_USER}"
        ));
    }
    no_control(text, "the name of the user")
}

/// Parses the description of a group.
pub(crate) fn description(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if length > MAX_DESCRIPTION {
        return Err(format!(
            "the description has {length} characters; the limit is {MAX_DESCRIPTION}"
        ));
    }
    no_control(text, "the description")
}

fn no_control(text: &str, what: &str) -> Result<String, String> {
    match text.chars().find(|c| c.is_control()) {
        None => Ok(text.to_owned()),
        Some(c) => Err(format!(
            "{what} contains the control character U+{:04X}",
            u32::from(c)
        )),
    }
}

/// Parses a grant: a gated command, or `*`, with a scope if the command takes one.
pub(crate) fn grant(text: &str) -> Result<Grant, String> {
    let parsed = match text.parse::<Grant>() {
        Ok(grant) if is_grantable(&grant.command) => return Ok(grant),
        Ok(Grant { command, .. }) => not_grantable(&command),
        Err(ScopeError::Unscoped(command)) if !is_grantable(&command) => not_grantable(&command),
        Err(error) => error.to_string(),
    };
    Err(with_quoting(parsed, text))
}

/// Parses a grant that a group may have. Its command may be one that this version of vctl does not have.
pub(crate) fn stored_grant(text: &str) -> Result<Grant, String> {
    match text.parse::<Grant>() {
        Ok(grant) if !is_grantable(&grant.command) && Path::new(text).exists() => {
            Err(with_quoting(not_grantable(&grant.command), text))
        }
        Ok(grant) => Ok(grant),
        Err(error) => Err(with_quoting(error.to_string(), text)),
    }
}

fn is_grantable(command: &str) -> bool {
    grantable().contains(&command)
}

/// Adds how to write `*` if the text is the name of a file: the shell replaces an unquoted `*` by such names.
fn with_quoting(error: String, text: &str) -> String {
    if Path::new(text).exists() {
        format!("{error}; it is the name of a file here: quote `*` for the shell, as '*'")
    } else {
        error
    }
}

fn not_grantable(command: &str) -> String {
    let names: Vec<String> = grantable()
        .into_iter()
        .map(|name| format!("`{name}`"))
        .collect();
    let meant =
        nearest(command).map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"));
    format!(
        "`{command}` is not a command that can be granted{meant}: these are {}",
        names.join(", ")
    )
}

/// Returns the command whose grant a user probably means: that of a command which uses its grant, or the most similar
/// name.
fn nearest(command: &str) -> Option<&'static str> {
    let uses = GatedCommand::of_name(command).map(GatedCommand::name);
    let names = GatedCommand::ALL.into_iter().map(GatedCommand::name);
    let distance = |name: &&str| strsim::damerau_levenshtein(name, command);
    // Up to a third of the letters may be wrong.
    let is_like = |name: &&str| distance(name) * 3 <= command.len().max(3);
    uses.or_else(|| names.min_by_key(distance).filter(is_like))
}

/// Returns the display name that a text means: the whole name, or the part after the auth mount.
///
/// An unknown name is taken as it is: the user may not have logged in yet. Also returns whether it is known.
///
/// # Errors
/// Several users have this name at different auth mounts.
pub(crate) fn display_name(text: &str, users: &[User]) -> Result<(String, bool), CliError> {
    if users.iter().any(|user| user.display_name == text) {
        return Ok((text.to_owned(), true));
    }
    let named = |user: &&User| Person::new(&*user.display_name).name() == text;
    let named: Vec<&User> = users.iter().filter(named).collect();
    match named[..] {
        [] => Ok((text.to_owned(), false)),
        [user] => Ok((user.display_name.clone(), true)),
        _ => {
            let names = named
                .iter()
                .map(|user| format!("`{}`", sanitize::text(&user.display_name)));
            let names: Vec<String> = names.collect();
            let text = sanitize::text(text);
            let message = format!(
                "`{text}` is the name of several users: {}",
                names.join(", ")
            );
            Err(CliError::new(Exit::Usage, message).hint("give the whole name of one of them"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused_with_the_reason() {
        let long = "a".repeat(200);
        for (text, reason) in [
            ("", "is empty"),
            ("de'vs", "is not the name of a group"),
            ("devs\n", "is not the name of a group"),
            ("\u{1b}[31m", "is not the name of a group"),
            ("Devs", "is not the name of a group"),
            ("-devs", "begins with a letter or digit"),
            (&long, "has 200 characters; the limit is 63"),
        ] {
            let error = group(text).unwrap_err();
            assert!(error.contains(reason), "{error}");
            assert!(!error.contains(char::is_control), "{error:?}");
        }
        assert_eq!(group("sre.on-call_2").as_deref(), Ok("sre.on-call_2"));
        assert!(user("a\nb").unwrap_err().contains("U+000A"));
        assert!(user(&"a".repeat(2_000)).unwrap_err().contains("1024"));
        assert_eq!(user("oidc-o'neill").as_deref(), Ok("oidc-o'neill"));
        assert!(description("a\u{7}").is_err());
    }

    #[test]
    fn unknown_command_is_refused_with_the_valid_names() {
        let error = grant("reboot").unwrap_err();
        for name in ["`*`", "`ssh`", "`exec`", "`sync`", "`prune`", "`trust-ca`"] {
            assert!(error.contains(name), "{error}");
        }
        assert!(grant("list").is_err());
        for (text, meant) in [
            ("shh", Some("ssh")),
            ("exce", Some("exec")),
            ("trust-cas", Some("trust-ca")),
            ("proxy", Some("ssh")),
            ("ssg:dc=a", Some("ssh")),
            ("list", None),
            ("frobnicate", None),
        ] {
            let error = grant(text).unwrap_err();
            let suggestion = meant.map(|name| format!("(did you mean `{name}`?)"));
            match suggestion {
                Some(suggestion) => assert!(error.contains(&suggestion), "{error}"),
                None => assert!(!error.contains("did you mean"), "{error}"),
            }
        }
        assert_eq!(
            grant("ssh:user=root,dc=a").unwrap().to_string(),
            "ssh:dc=a,user=root"
        );
    }

    #[test]
    fn an_unquoted_star_is_recognised_by_the_names_of_files() {
        // Unit tests run in the directory of the package.
        for (parse, name) in [
            (grant as fn(&str) -> _, "Cargo.toml"),
            (grant, "src"),
            (stored_grant, "Cargo.toml"),
            (stored_grant, "src"),
        ] {
            let error = parse(name).unwrap_err();
            assert!(error.contains("quote `*` for the shell"), "{error}");
        }
        let error = grant("reboot").unwrap_err();
        assert!(!error.contains("quote"), "{error}");
        assert_eq!(stored_grant("reboot").unwrap().to_string(), "reboot");
    }

    #[test]
    fn a_short_name_means_the_only_user_who_has_it() {
        let user = |name: &str| User {
            display_name: name.to_owned(),
            login: None,
            groups: Vec::new(),
        };
        let users = ["oidc-albert", "oidc-zoe", "userpass-zoe"].map(user);
        let of = |text: &str| display_name(text, &users).map_err(|error| error.message);
        assert_eq!(of("albert"), Ok(("oidc-albert".to_owned(), true)));
        assert_eq!(of("userpass-zoe"), Ok(("userpass-zoe".to_owned(), true)));
        assert_eq!(of("oidc-new"), Ok(("oidc-new".to_owned(), false)));
        assert!(of("zoe").unwrap_err().contains("`userpass-zoe`"));
    }
}
