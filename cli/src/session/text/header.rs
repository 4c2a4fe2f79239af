//! Who, where, when: the block above a timeline, and what it says about completeness below.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use vctl_common::count::counted;
use vctl_common::session::{Auth, CloseReason, GapCause, Origin, Stamp};

use super::{identity, provenance};
use crate::session::model::identity::has_name;
use crate::session::model::{History, Hole, Missing, Session};
use crate::ui::sanitize::text;
use crate::ui::{BAD, BOLD, DIM, Layout, WARN, time};

/// One line of the block: escaped.
pub(crate) struct Fact {
    pub(crate) name: &'static str,
    pub(crate) text: String,
    /// Nobody should overlook it.
    pub(crate) warns: bool,
}

pub(crate) fn write(out: &mut dyn Write, session: &Session, layout: Layout) -> io::Result<()> {
    write_opening(out, session, layout)?;
    write_fact(out, &end(session))
}

/// Writes what is known when a session begins.
pub(crate) fn write_opening(
    out: &mut dyn Write,
    session: &Session,
    layout: Layout,
) -> io::Result<()> {
    writeln!(out, "{BOLD}session {}{BOLD:#}", session.opened.id)?;
    let mut facts = opening(session, layout).into_iter();
    facts.try_for_each(|fact| write_fact(out, &fact))
}

/// Writes that a session waited on its host before it arrived.
pub(crate) fn write_late(out: &mut dyn Write, late: Duration) -> io::Result<()> {
    let text = format!("late, {} after it was opened", time::duration(late));
    write_fact(out, &Fact::warning("arrived", text))
}

fn write_fact(out: &mut dyn Write, fact: &Fact) -> io::Result<()> {
    let Fact { name, text, warns } = fact;
    if *warns {
        writeln!(out, "  {DIM}{name:9}{DIM:#} {WARN}{text}{WARN:#}")
    } else {
        writeln!(out, "  {DIM}{name:9}{DIM:#} {text}")
    }
}

/// Returns who, where, when.
pub(crate) fn opening(session: &Session, layout: Layout) -> Vec<Fact> {
    let opened = &session.opened;
    let mut facts = Vec::new();
    let mut fact = |name, text| facts.push(Fact::new(name, text));
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
            Fact::warning
        } else {
            Fact::new
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
    facts.push(Fact::new("login", format!("{login} ({service})")));
    if let Some(stamp) = stamp(opened.stamp, session.is_without_stamp()) {
        facts.push(Fact::warning("stamped", stamp.to_owned()));
    }
    if let Some(origin) = detached(&opened.origin) {
        facts.push(Fact::new("detached", origin));
    }
    facts.push(Fact::new("opened", time::millis(session.opened_at())));
    facts
}

/// Returns when and how it was over.
pub(crate) fn end(session: &Session) -> Fact {
    Fact::new("closed", closed(session))
}

impl Fact {
    pub(crate) fn new(name: &'static str, text: String) -> Self {
        let warns = false;
        Self { name, text, warns }
    }

    pub(crate) fn warning(name: &'static str, text: String) -> Self {
        let warns = true;
        Self { name, text, warns }
    }
}

/// Returns the last word on a session: whether this is everything.
pub(crate) fn write_footer(out: &mut dyn Write, session: &Session) -> io::Result<()> {
    let stored = session.stored;
    let events = counted(stored, "event");
    match (session.missing(), session.closed.is_some()) {
        (Some(missing), _) => writeln!(
            out,
            "{BAD}INCOMPLETE: {}{BAD:#}, {events} stored{}",
            missing_with_time(missing, session),
            if session.closed.is_some() {
                ""
            } else {
                " so far"
            },
        ),
        (None, true) if stored == 0 => writeln!(out, "complete: no events"),
        (None, true) => writeln!(out, "complete: all {events}"),
        (None, false) if session.is_unheard() => writeln!(
            out,
            "no end recorded: {events}, none missing up to the last one"
        ),
        (None, false) => writeln!(out, "still open: {events} so far, none missing"),
    }
}

/// Writes how many programs of sshd and PAM are left out, if any are.
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

/// Returns the person whose certificate it was, else the name that the login gives itself.
///
/// A name that is not proven has a `?` in front: there no narrow column cuts it off.
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

/// Returns the key id of the certificate, else what else is known.
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

/// Returns the address the client came from.
pub(crate) fn source(session: &Session) -> Option<String> {
    let opened = &session.opened;
    match (opened.source_ip, opened.source_port) {
        (Some(ip), Some(port)) => Some(format!("{ip} port {port}")),
        (Some(ip), None) => Some(ip.to_string()),
        (None, _) => opened.remote_host.as_deref().map(text),
    }
}

/// Returns `3 events missing between .. and ..`, as a line of the timeline has it.
pub(crate) fn hole(hole: &Hole, session: &Session) -> String {
    let from = time::clock(session.wall.wall_time(hole.from));
    let to = time::clock(session.wall.wall_time(hole.to));
    let cause = hole.cause.map_or("nobody recorded why", cause);
    match (hole.cause, hole.events) {
        (Some(GapCause::StampedLate | GapCause::LoginWithoutStamp), None) => {
            format!("nothing recorded from the login at {from} to the mark at {to} ({cause})")
        }
        (_, Some(events)) => {
            let events = counted(events, "event");
            format!("{events} missing between {from} and {to} ({cause})")
        }
        (_, None) => {
            format!("an unknown number of events missing between {from} and {to} ({cause})")
        }
    }
}

/// Returns `12 missing`, `at least 12 missing`, `some missing`.
pub(crate) fn missing(missing: Missing) -> String {
    match (missing.counted, missing.uncounted) {
        (0, _) => "some missing".to_owned(),
        (counted, false) => format!("{counted} missing"),
        (counted, true) => format!("at least {counted} missing"),
    }
}

fn missing_with_time(what: Missing, session: &Session) -> String {
    let first = session.holes.iter().map(|hole| hole.from).min();
    let last = session.holes.iter().map(|hole| hole.to).max();
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
        Stamp::Missed => " (nothing of it was recorded)",
    };
    format!("{}{when}{late}", missing(what))
}

fn closed(session: &Session) -> String {
    let (Some(closed), Some(at), Some(lasted)) =
        (&session.closed, session.closed_at(), session.duration())
    else {
        return if session.is_unheard() {
            "unknown: no end is recorded, and the host was not heard of in that boot for a day"
                .to_owned()
        } else {
            "still open".to_owned()
        };
    };
    let why = match closed.reason {
        CloseReason::LastProcessEnded => "last process ended",
        CloseReason::HostRebooted => "the host went down",
        CloseReason::ProbeDetached => "the probe was detached",
        CloseReason::NeverRecorded => "before it could be recorded",
    };
    let mut line = format!(
        "{} after {} ({why})",
        time::millis(at),
        time::duration(lasted)
    );
    // Half a second is what a shell and sshd may take to go; more is work left behind.
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
            "never: no PAM hook asked to stamp this login, so its beginning is missing (a `required` PAM line refuses such a login)",
        ),
        Stamp::Late => Some("late: the agent did not answer at login, so the beginning is missing"),
        Stamp::BreakGlass => {
            Some("late: let in by the break-glass group while the agent did not answer")
        }
        Stamp::Missed => Some("never: the login was over before the agent saw it"),
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
        GapCause::MarksFull => "the map of marked processes was full",
        GapCause::StampedLate => "stamped late",
        GapCause::LoginWithoutStamp => "login without a stamp",
        GapCause::ProbeAway => "the probe was away",
        GapCause::Undecodable => "records could not be decoded",
        GapCause::SpoolCap => "dropped: the spool reached its cap",
        GapCause::SpoolDamaged => "the spool is damaged",
        GapCause::Shipped => "shipped: the central store has them, this host no longer",
    }
}
