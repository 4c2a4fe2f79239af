//! The header above a timeline (user, host, time), and the line about completeness below it.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use vctl_common::count::{counted, form};
use vctl_common::session::{Auth, CloseReason, GapCause, Origin, Stamp};

use super::fact::HeaderFact;
use super::{identity, provenance};
use crate::session::model::identity::has_name;
use crate::session::model::{History, MissingCount, MissingRange, Session};
use crate::ui::sanitize::text;
use crate::ui::{BAD, BOLD, DIM, Layout, WARN, time};

pub(crate) fn write(out: &mut dyn Write, session: &Session, layout: Layout) -> io::Result<()> {
    write_opening(out, session, layout)?;
    write_fact(out, &end(session))
}

/// Writes the facts known when a session opens.
pub(crate) fn write_opening(
    out: &mut dyn Write,
    session: &Session,
    layout: Layout,
) -> io::Result<()> {
    writeln!(out, "{BOLD}session {}{BOLD:#}", session.opened.id)?;
    let mut facts = opening(session, layout).into_iter();
    facts.try_for_each(|fact| write_fact(out, &fact))
}

/// Writes that a session arrived late, after waiting on its host.
pub(crate) fn write_late(out: &mut dyn Write, late: Duration) -> io::Result<()> {
    let text = format!("late: {} after it was opened", time::duration(late));
    write_fact(out, &HeaderFact::warning("arrived", text))
}

fn write_fact(out: &mut dyn Write, fact: &HeaderFact) -> io::Result<()> {
    let HeaderFact { name, text, warns } = fact;
    if *warns {
        writeln!(out, "  {DIM}{name:9}{DIM:#} {WARN}{text}{WARN:#}")
    } else {
        writeln!(out, "  {DIM}{name:9}{DIM:#} {text}")
    }
}

/// Returns the facts about user, host and time.
pub(crate) fn opening(session: &Session, layout: Layout) -> Vec<HeaderFact> {
    let opened = &session.opened;
    let mut facts = Vec::new();
    let mut fact = |name, text| facts.push(HeaderFact::new(name, text));
    let mut person = who(session);
    if let Some(whole) = session.person().filter(|_| layout.full) {
        let _ = write!(person, " ({})", text(whole.display_name()));
    }
    fact("who", person);
    if let Some(certificate) = &opened.auth.certificate {
        let serial = certificate
            .serial
            .map_or_else(|| "none".to_owned(), |serial| serial.to_string());
        let ca = text(&certificate.ca_fingerprint);
        fact("serial", format!("{serial} of CA {ca}"));
    }
    facts.extend(identity::facts(session));
    facts.extend(session.provenance.iter().flat_map(provenance::facts));
    if let Some(problem) = &opened.auth.problem {
        let fact = if opened.auth.unreadable_certificate {
            HeaderFact::warning
        } else {
            HeaderFact::new
        };
        facts.push(fact("problem", text(problem)));
    }
    let mut login = format!("{} on {}", text(&opened.login_user), text(&session.host));
    if let Some(source) = source(session) {
        let _ = write!(login, " from {source}");
    }
    if let Some(tty) = &opened.tty {
        let _ = write!(login, ", {}", text(tty));
    }
    let service = text(&opened.service);
    facts.push(HeaderFact::new("login", format!("{login} ({service})")));
    if let Some(stamp) = stamp(opened.stamp, session.is_without_stamp()) {
        facts.push(HeaderFact::warning("stamped", stamp.to_owned()));
    }
    if let Some(origin) = detached(&opened.origin) {
        facts.push(HeaderFact::new("detached", origin));
    }
    facts.push(HeaderFact::new("opened", time::millis(session.opened_at())));
    facts
}

/// Returns the time and the reason of the end.
pub(crate) fn end(session: &Session) -> HeaderFact {
    HeaderFact::new("closed", closed(session))
}

/// Writes the last line: whether the record is complete, and how many of its events were `deleted` since.
pub(crate) fn write_footer(out: &mut dyn Write, session: &Session, deleted: u64) -> io::Result<()> {
    let stored = session.stored;
    let events = counted(stored, "event");
    let deleted = match deleted {
        0 => String::new(),
        all if all == stored && all > 1 => {
            "; all were deleted after their retention period".to_owned()
        }
        some => format!(
            "; {some} of these {} deleted after {} retention period",
            form(some, "was", "were"),
            form(some, "its", "their")
        ),
    };
    match (session.missing(), session.closed.is_some()) {
        (Some(missing), _) => writeln!(
            out,
            "{BAD}INCOMPLETE: {}{BAD:#}, {events} stored{}{deleted}",
            missing_with_time(missing, session),
            if session.closed.is_some() {
                ""
            } else {
                " so far"
            },
        ),
        (None, true) if stored == 0 => writeln!(out, "complete: no events"),
        (None, true) => writeln!(out, "complete: all {events}{deleted}"),
        (None, false) if session.is_unheard() => writeln!(
            out,
            "no end recorded: {events}, none missing up to the last one{deleted}"
        ),
        (None, false) => writeln!(out, "still open: {events} so far, none missing{deleted}"),
    }
}

/// Writes the number of programs of sshd and PAM that are not shown, if any.
pub(crate) fn write_left_out(out: &mut dyn Write, history: &History) -> io::Result<()> {
    match left_out(history) {
        Some(text) => writeln!(out, "{DIM}{text}{DIM:#}"),
        None => Ok(()),
    }
}

pub(crate) fn left_out(history: &History) -> Option<String> {
    let programs = match history.left_out {
        0 => return None,
        1 => "1 program".to_owned(),
        count => format!("{count} programs"),
    };
    Some(format!(
        "not shown: {programs} that sshd and PAM ran at login or logout (`--login-work` shows them)"
    ))
}

/// Returns the person named by the certificate, or else the name that the login has.
///
/// A name that is not proven starts with `?`, where a narrow column does not cut it off.
pub(crate) fn who(session: &Session) -> String {
    let name = match session.person() {
        Some(person) => text(person.name()),
        None if session.is_without_stamp() => "(login without a stamp)".to_owned(),
        None => login_name(&session.opened.auth),
    };
    if has_name(&session.opened.auth) && !session.identity.is_proven() {
        return format!("?{name}");
    }
    name
}

/// Returns the key id of the certificate, or else the method or key of the login.
pub(crate) fn login_name(auth: &Auth) -> String {
    let method = || {
        auth.method
            .as_deref()
            .map_or_else(|| "unknown".to_owned(), text)
    };
    match (&auth.certificate, &auth.key_fingerprint) {
        (Some(certificate), _) if certificate.key_id.is_empty() => "(empty key id)".to_owned(),
        (Some(certificate), _) => text(&certificate.key_id),
        (None, _) if auth.unreadable_certificate => "(unreadable certificate)".to_owned(),
        (None, Some(fingerprint)) => format!("(no certificate) key {}", text(fingerprint)),
        (None, None) => format!("(no certificate) {}", method()),
    }
}

/// Returns the client's address.
pub(crate) fn source(session: &Session) -> Option<String> {
    let opened = &session.opened;
    match (opened.source_ip, opened.source_port) {
        (Some(ip), Some(port)) => Some(format!("{ip} port {port}")),
        (Some(ip), None) => Some(ip.to_string()),
        (None, _) => opened.remote_host.as_deref().map(text),
    }
}

/// Returns the line of the timeline about missing events: `3 events missing between .. and ..`.
pub(crate) fn missing_range(range: &MissingRange, session: &Session) -> String {
    let from = time::clock(session.wall.wall_time(range.from));
    let to = time::clock(session.wall.wall_time(range.to));
    let cause = range.cause.map_or("cause not recorded", cause);
    match (range.cause, range.events) {
        // A later range is of single processes that had no mark.
        (Some(GapCause::StampedLate | GapCause::LoginWithoutStamp), None)
            if range.from <= session.opened.opened_at =>
        {
            format!(
                "nothing recorded from the login at {from} until recording began at {to} ({cause})"
            )
        }
        (_, Some(events)) => {
            let events = counted(events, "event");
            format!("{events} missing between {from} and {to} ({cause})")
        }
        (_, None) => {
            format!("an unknown number of events is missing between {from} and {to} ({cause})")
        }
    }
}

/// Returns `12 missing`, `at least 12 missing`, `some missing`.
pub(crate) fn missing_count(missing: MissingCount) -> String {
    match (missing.counted, missing.uncounted) {
        (0, _) => "some missing".to_owned(),
        (counted, false) => format!("{counted} missing"),
        (counted, true) => format!("at least {counted} missing"),
    }
}

fn missing_with_time(what: MissingCount, session: &Session) -> String {
    let first = session.missing_ranges.iter().map(|range| range.from).min();
    let last = session.missing_ranges.iter().map(|range| range.to).max();
    let when = match (first, last) {
        (Some(first), Some(last)) => format!(
            " between {} and {}",
            time::clock(session.wall.wall_time(first)),
            time::clock(session.wall.wall_time(last))
        ),
        _ => String::new(),
    };
    let late = match session.opened.stamp {
        Stamp::InTime => "",
        Stamp::Late if session.is_without_stamp() => " (login without a stamp)",
        Stamp::Late | Stamp::BreakGlass => " (stamped late)",
        Stamp::Missed => " (nothing recorded)",
    };
    let events = match (what.counted, what.uncounted) {
        (0, _) => "an unknown number of events missing".to_owned(),
        (count, false) => format!("{} missing", counted(count, "event")),
        (count, true) => format!("at least {} missing", counted(count, "event")),
    };
    format!("{events}{when}{late}")
}

fn closed(session: &Session) -> String {
    let (Some(closed), Some(at), Some(lasted)) =
        (&session.closed, session.closed_at(), session.duration())
    else {
        return if session.is_unheard() {
            "unknown: no end is recorded, and the host has not reported in that boot for a day"
                .to_owned()
        } else {
            "still open".to_owned()
        };
    };
    let why = match closed.reason {
        CloseReason::LastProcessEnded => "last process ended",
        CloseReason::HostRebooted => "the host went down",
        CloseReason::ProbeDetached => "the probe was detached",
        CloseReason::NeverRecorded => "it ended before the agent could record it",
    };
    let mut line = format!(
        "{} after {} ({why})",
        time::millis(at),
        time::duration(lasted)
    );
    if let Some(requested) = &closed.requested {
        let by = text(&requested.by);
        let reason = requested.reason.as_ref().map(text);
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        let _ = write!(line, ", ended on request of {by}{reason}");
    }
    // A shell and sshd may take half a second to end; a longer time is background work.
    if let Some(left) = closed.leader_ended_at.map(|left| closed.at.since(left))
        && left.as_millis() > 500
    {
        let left = time::duration(left);
        let _ = write!(
            line,
            ", background work went on for {left} after the login ended"
        );
    }
    line
}

fn stamp(stamp: Stamp, is_without_stamp: bool) -> Option<&'static str> {
    match stamp {
        Stamp::InTime => None,
        _ if is_without_stamp => Some(
            "never: no PAM hook asked for a stamp, so the beginning is not recorded (a `required` PAM line refuses such a login)",
        ),
        Stamp::Late => {
            Some("late: the agent did not answer at login, so the beginning is not recorded")
        }
        Stamp::BreakGlass => Some(
            "late: the agent did not answer at login, and the break-glass group was accepted without a stamp",
        ),
        Stamp::Missed => {
            Some("never: the login ended before the agent saw it, so nothing is recorded")
        }
    }
}

fn detached(origin: &Origin) -> Option<String> {
    match origin {
        Origin::Login => None,
        Origin::Detached { from: None } => Some("from an unknown session".to_owned()),
        Origin::Detached { from: Some(link) } => {
            let serial = link
                .serial
                .map(|serial| format!(" (serial {serial})"))
                .unwrap_or_default();
            Some(format!(
                "from session {}{serial}, inferred: {}",
                link.session,
                text(&link.because)
            ))
        }
    }
}

fn cause(cause: GapCause) -> &'static str {
    match cause {
        GapCause::RingFull => "the ring was full",
        GapCause::ProbeSkipped => "the kernel skipped the probe",
        GapCause::MarksFull => "the kernel's map of recorded processes was full",
        GapCause::StampedLate => "stamped late",
        GapCause::LoginWithoutStamp => "login without a stamp",
        GapCause::ProbeAway => "the probe was not loaded",
        GapCause::Undecodable => "records could not be decoded",
        GapCause::SpoolCap => "dropped: the spool reached its size limit",
        GapCause::SpoolDamaged => "the spool is damaged",
        GapCause::StreamLost => "JetStream lost batches of this host",
        GapCause::CentreLost => "the central store lost batches of this host",
        GapCause::Shipped => {
            "sent: the events are in the central store, and no longer on this host"
        }
    }
}
