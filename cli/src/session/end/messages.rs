//! Texts of `vctl session end` about a session and the answer of its host. Pure.

use std::time::{Duration, SystemTime};

use vctl_common::count::form;
use vctl_common::person::Person;

use super::store::{EndResult, EndableSession, HostAnswer, RemainingProcess};
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::ui::time;

/// Returns `albert as root on web-1, open for 12m03s`. A name that no CA of ours signed begins with `?`.
pub(crate) fn described(session: &EndableSession, now: SystemTime) -> String {
    let name = match (&session.vault_user, &session.key_id) {
        (Some(person), _) => Person::new(person.as_str()).name().to_owned(),
        (None, Some(key_id)) => format!("?{key_id}"),
        (None, None) => "a user without a certificate".to_owned(),
    };
    let opened = session.opened_at;
    let age = opened.and_then(|opened| now.duration_since(opened).ok());
    let age = age.map_or_else(String::new, |age| {
        format!(", open for {}", time::duration(age))
    });
    format!("{name} as {} on {}{age}", session.login_user, session.host)
}

/// Returns a warning if the host may not answer.
pub(crate) fn doubt(session: &EndableSession, silent_after: Duration) -> Option<String> {
    let host = &session.host;
    match session.host_seen {
        Some(seen) if seen > silent_after => Some(format!(
            "{host} last reported {} ago, so it may not answer",
            time::duration(seen)
        )),
        None => Some(format!(
            "{host} has not reported since its boot, so it may not answer"
        )),
        Some(_) if !session.host_asks => Some(format!(
            "the agent of {host} has not asked for requests yet: it may be older than `vctl session end`"
        )),
        Some(_) => None,
    }
}

/// Returns the lines about an answer. An answer that leaves something running is an error.
pub(crate) fn answered(
    session: &EndableSession,
    answer: &HostAnswer,
) -> Result<Vec<String>, CliError> {
    let (id, host) = (session.id, &session.host);
    match answer.result {
        EndResult::Ended => {
            let mut lines = vec![format!(
                "session {id} on {host} is over: {}",
                signalled(answer)
            )];
            lines.extend(detached(answer));
            Ok(lines)
        }
        EndResult::Gone => Ok(vec![format!(
            "session {id} on {host} was over before its agent read the request; no process was signalled"
        )]),
        EndResult::Remaining => {
            let left = answer.remaining.iter().map(process).collect::<Vec<_>>();
            let message = if left.is_empty() {
                format!("processes of session {id} on {host} are left, and cannot be listed")
            } else {
                format!(
                    "{} of session {id} on {host} {} left: {}",
                    processes(left.len() as u64),
                    form(left.len(), "is", "are"),
                    left.join(", ")
                )
            };
            let mut error = CliError::new(Exit::Failure, message);
            error.causes.push(signalled(answer));
            error.causes.extend(answer.problem.clone());
            error.causes.extend(detached(answer));
            Err(error.hint(
                "a process in state D ends when its wait for the kernel ends; run the command again to see whether \
                 it has",
            ))
        }
        EndResult::Refused => {
            let message = format!("{host} refuses to end sessions");
            let hint = "its agent is configured with `end_sessions: false`: docs/agent-config.md";
            Err(CliError::new(Exit::Permission, message).hint(hint))
        }
        EndResult::Expired => {
            let message = format!("the request expired: {host} did not take it within a day");
            Err(CliError::new(Exit::Unavailable, message).hint("run the command again"))
        }
        EndResult::Other => {
            let message = format!("{host} answered in a way that this version does not know");
            Err(CliError::new(Exit::Failure, message).hint("update `vctl`"))
        }
    }
}

/// Returns the error for a host that did not answer in time.
pub(crate) fn unanswered(session: &EndableSession, waited: Duration, is_taken: bool) -> CliError {
    let host = &session.host;
    let message = format!("{host} did not answer within {}", time::duration(waited));
    let mut error = CliError::new(Exit::Unavailable, message);
    error.causes.push(if is_taken {
        "its agent has the request, and has not reported the result".to_owned()
    } else {
        "its agent has not asked for the request".to_owned()
    });
    error.hint(format!(
        "the request stays for a day, and the agent ends the session when it asks again: `vctl session end {}` \
         waits again, and `vctl fleet` shows whether the host reports",
        session.id
    ))
}

fn signalled(answer: &HostAnswer) -> String {
    let ended = processes(answer.signalled);
    match answer.killed {
        0 => format!("{ended} signalled"),
        killed => format!("{ended} signalled, {killed} of them killed"),
    }
}

fn processes(count: u64) -> String {
    format!("{count} {}", form(count, "process", "processes"))
}

fn detached(answer: &HostAnswer) -> Option<String> {
    let ids: Vec<String> = answer.detached.iter().map(ToString::to_string).collect();
    (!ids.is_empty()).then(|| {
        format!(
            "still open are sessions of daemons that probably work for it: {}",
            ids.join(", ")
        )
    })
}

fn process(process: &RemainingProcess) -> String {
    let name = process.name.as_deref().filter(|name| !name.is_empty());
    let state = process.state.as_deref().filter(|state| !state.is_empty());
    let name = name.map_or_else(String::new, |name| format!(" {name}"));
    let state = state.map_or_else(String::new, |state| format!(" (state {state})"));
    format!("{}{name}{state}", process.pid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::session_id;

    fn session() -> EndableSession {
        EndableSession {
            id: session_id("0193f3a1-7c4e-7d61-9f0a-2b5c6d7e8f90"),
            host: "web-1".to_owned(),
            login_user: "root".to_owned(),
            vault_user: Some("oidc-albert".to_owned()),
            key_id: Some("oidc-albert".to_owned()),
            opened_at: None,
            closed_at: None,
            host_seen: Some(Duration::from_secs(3)),
            host_asks: true,
        }
    }

    fn answer(result: EndResult) -> HostAnswer {
        HostAnswer {
            result,
            signalled: 3,
            killed: 1,
            remaining: vec![RemainingProcess {
                pid: 4102,
                name: Some("nfs-reader".to_owned()),
                state: Some("D".to_owned()),
            }],
            detached: vec![session_id("0193f3a1-7c4e-7d61-9f0a-000000000001")],
            problem: None,
        }
    }

    #[test]
    fn only_a_signed_name_is_shown_without_a_mark() {
        let now = SystemTime::UNIX_EPOCH;
        assert_eq!(described(&session(), now), "albert as root on web-1");
        let mut unsigned = session();
        unsigned.vault_user = None;
        assert_eq!(described(&unsigned, now), "?oidc-albert as root on web-1");
    }

    #[test]
    fn an_ended_session_names_its_detached_ones() {
        let lines = answered(&session(), &answer(EndResult::Ended)).unwrap();
        assert!(lines[0].ends_with("is over: 3 processes signalled, 1 of them killed"));
        assert!(lines[1].ends_with("000000000001"), "{lines:?}");
    }

    #[test]
    fn a_process_that_is_left_makes_the_command_fail() {
        let error = answered(&session(), &answer(EndResult::Remaining)).unwrap_err();
        assert_eq!(error.exit, Exit::Failure);
        assert!(error.message.ends_with("1 process of session 0193f3a1-7c4e-7d61-9f0a-2b5c6d7e8f90 on web-1 is left: 4102 nfs-reader (state D)"));
        let refused = answered(&session(), &answer(EndResult::Refused)).unwrap_err();
        assert_eq!(refused.exit, Exit::Permission);
    }

    #[test]
    fn a_silent_host_is_named_before_the_request() {
        let silent_after = Duration::from_mins(10);
        assert_eq!(doubt(&session(), silent_after), None);
        let mut silent = session();
        silent.host_seen = Some(Duration::from_hours(2));
        assert!(doubt(&silent, silent_after).unwrap().contains("2h00m ago"));
        let mut old = session();
        old.host_asks = false;
        assert!(doubt(&old, silent_after).unwrap().contains("older than"));
    }
}
