//! Texts of `vctl revoke`. Pure.

use std::time::SystemTime;

use vctl_common::count::counted;

use super::user::RevokedUser;
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::session::end::store::EndableSession;
use crate::session::end::words::described;

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

/// Returns the error for an unknown user.
pub(crate) fn unknown(name: &str) -> CliError {
    let message = format!("neither Vault nor the central store knows a user `{name}`");
    let hint = "use the whole name, such as `oidc-albert`: `vctl session --live` and `vctl audit` show names";
    CliError::new(Exit::NotFound, message).hint(hint)
}

/// Returns the error for parts that were not reached.
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
    let mut error = CliError::new(Exit::Failure, message);
    error.causes = missed;
    error.hint("run the same command again to revoke the rest")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn user() -> RevokedUser {
        RevokedUser {
            entity: Some("e1".to_owned()),
            names: BTreeSet::from(["oidc-albert".to_owned(), "userpass-al".to_owned()]),
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
