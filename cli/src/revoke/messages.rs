//! Texts of `vctl revoke`. Pure.

use std::time::SystemTime;

use vctl_common::count::counted;

use super::user::RevokedUser;
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::session::end::messages::described;
use crate::session::end::store::EndableSession;

/// Returns the names of a user: `oidc-albert, userpass-al`.
pub(crate) fn names(user: &RevokedUser) -> String {
    let names: Vec<&str> = user.names.iter().map(String::as_str).collect();
    names.join(", ")
}

/// The known access of a user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) tokens: usize,
    /// `None`: Postgres is away.
    pub(crate) records: Option<(&'a [EndableSession], usize)>,
}

/// Returns the lines that show the access to revoke.
pub(crate) fn plan(user: &RevokedUser, found: Found<'_>, now: SystemTime) -> Vec<String> {
    let mut lines = vec![match user.entity {
        Some(_) => format!(
            "{}: {} of Vault, with the database logins",
            names(user),
            counted(found.tokens, "token")
        ),
        None => format!("{}: Vault has no user with this name", names(user)),
    }];
    lines.extend(user.shared_names.iter().map(|name| {
        format!("tokens with the shared name {name}: they are revoked, and the records under this name are not searched")
    }));
    let Some((sessions, certificates)) = found.records else {
        lines.push("live sessions and certificates: not known, Postgres is away".to_owned());
        return lines;
    };
    let live = sessions
        .iter()
        .map(|session| format!("session {}: {}", session.id, described(session, now)));
    lines.push(counted(sessions.len(), "live session"));
    lines.extend(live);
    lines.push(format!(
        "{} signed in the last day",
        counted(certificates, "certificate")
    ));
    lines
}

/// Returns the note about certificates that no list for sshd names yet.
pub(crate) fn certificates_stay_valid() -> String {
    "certificates that are already signed stay valid until they expire, two hours for the usual role and at most a \
     day: `vctl revoke --krl FILE` writes a list with which sshd refuses them, see docs/live.md"
        .to_owned()
}

/// Returns the part for sessions that were not requested to end.
pub(crate) fn more_sessions(requested: usize) -> String {
    format!("live sessions: the end of {requested} was requested, and more may be open")
}

/// The access under a shared name: live sessions, certificates of the last day, database logins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedAccess {
    pub(crate) sessions: usize,
    pub(crate) certificates: usize,
    pub(crate) logins: i64,
}

/// Returns the part for a shared name. `None`: Postgres does not say what is left.
pub(crate) fn shared_name(name: &str, left: Option<SharedAccess>) -> String {
    let left = left.map_or_else(
        || "not known".to_owned(),
        |left| {
            format!(
                "{}, {} of the last day, {}",
                counted(left.sessions, "live session"),
                counted(left.certificates, "certificate"),
                counted(left.logins, "database login")
            )
        },
    );
    format!(
        "access under the name {name}, which tokens of other users may have: {left}; \
         `vctl session --live --user {name}` lists the sessions, `vctl session end ID` ends one"
    )
}

/// Returns the error for an unknown user.
pub(crate) fn unknown(name: &str) -> CliError {
    let message = format!("neither Vault nor the central store knows a user `{name}`");
    let hint = "use the whole name, such as `oidc-albert`: `vctl session --live` and `vctl audit` show names";
    CliError::new(Exit::NotFound, message).hint(hint)
}

/// Returns the error for parts that were not reached. Only those that are not of shared names are reached by another run.
pub(crate) fn incomplete(user: &RevokedUser, missed: Vec<String>) -> CliError {
    let message = format!(
        "{} of the access of {} not revoked",
        match missed.len() {
            1 => "a part".to_owned(),
            parts => format!("{parts} parts"),
        },
        format_args!(
            "{} {}",
            names(user),
            if missed.len() == 1 { "is" } else { "are" }
        ),
    );
    let hint = if missed.len() > user.shared_names.len() {
        "run the same command again to revoke the rest"
    } else {
        "end the sessions of this user under the shared name; certificates expire: docs/live.md"
    };
    let mut error = CliError::new(Exit::Failure, message);
    error.causes = missed;
    error.hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn user() -> RevokedUser {
        RevokedUser {
            entity: Some("e1".to_owned()),
            names: BTreeSet::from(["oidc-albert".to_owned(), "userpass-al".to_owned()]),
            shared_names: BTreeSet::new(),
        }
    }

    #[test]
    fn a_plan_states_what_is_not_known() {
        let found = Found {
            tokens: 1,
            records: None,
        };
        let lines = plan(&user(), found, SystemTime::UNIX_EPOCH);
        assert!(lines[0].starts_with("oidc-albert, userpass-al: 1 token of Vault"));
        assert!(lines[1].contains("not known"), "{lines:?}");
        let found = Found {
            tokens: 2,
            records: Some((&[], 3)),
        };
        let lines = plan(&user(), found, SystemTime::UNIX_EPOCH);
        assert_eq!(
            lines[1..],
            ["0 live sessions", "3 certificates signed in the last day"]
        );
    }

    #[test]
    fn each_part_that_was_not_reached_is_a_cause() {
        let error = incomplete(&user(), vec!["one".to_owned(), "two".to_owned()]);
        assert_eq!(
            error.message,
            "2 parts of the access of oidc-albert, userpass-al are not revoked"
        );
        assert_eq!(error.causes.len(), 2);
    }
}
