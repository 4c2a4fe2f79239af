//! Sessions as a table, one per line.

use std::io::{self, Write};

use vctl_common::session::{Origin, Stamp};

use super::{header, identity};
use crate::session::model::{ListedSession, Session};
use crate::ui::columns::Columns;
use crate::ui::{Layout, sanitize, time};

/// Shown length of a short session id: its first 13 characters are the time in milliseconds.
const SHORT_ID: usize = 13;

/// Columns of the narrow table. The session id is never dropped: the next command needs it.
const COLUMNS: Columns<9> = Columns {
    names: [
        "STARTED", "LASTED", "WHO", "LOGIN", "SOURCE", "SERIAL", "CMDS", "RECORD", "SESSION",
    ],
    elastic: &[2, 3, 4, 7],
    spare: &[5, 4, 6],
};

const WIDE: Columns<12> = Columns {
    names: [
        "STARTED", "LASTED", "WHO", "LOGIN", "SOURCE", "SERIAL", "COMMANDS", "RECORD", "SESSION",
        "METHOD", "KEY ID", "CA",
    ],
    elastic: &[],
    spare: &[],
};

/// Writes one line per session; `wide` adds columns about the authentication. Session ids are shortened if the
/// terminal is too narrow: `vctl session` accepts the first digits of one.
pub(crate) fn write(
    out: &mut dyn Write,
    sessions: &[ListedSession],
    wide: bool,
    layout: Layout,
) -> io::Result<()> {
    if wide {
        let rows: Vec<[String; 12]> = sessions.iter().map(wide_row).collect();
        return WIDE.write(out, &rows, layout);
    }
    let mut rows: Vec<[String; 9]> = sessions.iter().map(row).collect();
    if !COLUMNS.fits(&rows, layout) {
        let ids: Vec<String> = rows.iter().map(|[.., id]| id.clone()).collect();
        for (index, [.., id]) in rows.iter_mut().enumerate() {
            id.truncate(distinct(index, &ids));
        }
    }
    COLUMNS.write(out, &rows, layout)
}

/// Returns the length at which the id differs from all others.
pub(super) fn distinct(index: usize, ids: &[String]) -> usize {
    let id = &ids[index];
    let common = |other: &String| {
        let same = id.bytes().zip(other.bytes());
        same.take_while(|(one, other)| one == other).count() + 1
    };
    let others = ids.iter().filter(|other| *other != id);
    others.map(common).max().unwrap_or(0).max(SHORT_ID)
}

fn wide_row(listed: &ListedSession) -> [String; 12] {
    let [
        started,
        lasted,
        who,
        login,
        source,
        serial,
        commands,
        record,
        session,
    ] = row(listed);
    let auth = &listed.session.opened.auth;
    let certificate = auth.certificate.as_ref();
    let dash = || "-".to_owned();
    [
        started,
        lasted,
        who,
        login,
        source,
        serial,
        commands,
        record,
        session,
        auth.method.as_ref().map_or_else(dash, sanitize::text),
        certificate.map_or_else(dash, |certificate| sanitize::text(&certificate.key_id)),
        certificate.map_or_else(dash, |certificate| {
            sanitize::text(&certificate.ca_fingerprint)
        }),
    ]
}

fn row(listed: &ListedSession) -> [String; 9] {
    let session = &listed.session;
    let opened = &session.opened;
    let open = if session.is_unheard() {
        "unknown"
    } else {
        "live"
    };
    let lasted = session
        .duration()
        .map_or_else(|| open.to_owned(), time::duration);
    let login = format!(
        "{}@{}",
        sanitize::text(&opened.login_user),
        sanitize::text(&session.host)
    );
    let source = opened.source_ip.map(|ip| ip.to_string());
    [
        time::seconds(session.opened_at()),
        lasted,
        header::who(session),
        login,
        source
            .or_else(|| header::source(session))
            .unwrap_or_else(|| "-".to_owned()),
        session
            .serial()
            .map_or_else(|| "-".to_owned(), |serial| serial.to_string()),
        listed.commands.to_string(),
        record(session),
        opened.id.to_string(),
    ]
}

/// Returns the cell RECORD: whether the record is complete, and how far it can be trusted.
fn record(session: &Session) -> String {
    let mut record = match session.missing() {
        Some(missing) => header::missing_count(missing),
        None if session.closed.is_some() => "complete".to_owned(),
        None if session.is_unheard() => "no end recorded".to_owned(),
        None => "complete so far".to_owned(),
    };
    match session.opened.stamp {
        Stamp::InTime => {}
        Stamp::Late if session.is_without_stamp() => record += ", login without a stamp",
        Stamp::Late | Stamp::BreakGlass => record += ", stamped late",
        Stamp::Missed if session.is_without_stamp() => {
            "not recorded, login without a stamp".clone_into(&mut record);
        }
        Stamp::Missed => "not recorded".clone_into(&mut record),
    }
    if session.opened.auth.unreadable_certificate {
        record += ", unreadable certificate";
    }
    if let Origin::Detached { from } = &session.opened.origin {
        record += ", detached";
        let from = from.as_ref().map(|link| match link.serial {
            Some(serial) => format!(" from serial {serial} (inferred)"),
            None => format!(" from {} (inferred)", link.session),
        });
        record += from.as_deref().unwrap_or_default();
    }
    // First, so that a narrow column does not cut it off.
    match identity::words(session) {
        Some(words) => format!("{words}, {record}"),
        None => record,
    }
}

#[cfg(test)]
mod tests {
    use vctl_common::session::{InferredLink, Stamp};

    use super::*;
    use crate::fixture::{Login, assert_golden, rendered, session_id};

    fn listed(session: Session) -> ListedSession {
        ListedSession {
            session,
            commands: 3,
        }
    }

    fn sessions() -> Vec<ListedSession> {
        let other = session_id("0193f3a1-7c4e-7d61-9f0a-000000000001");
        let mut late = Login::of_alice().after_ms(5_000);
        late.session().opened.stamp = Stamp::Late;
        let mut detached = Login::of_alice().after_ms(90_000);
        detached.session().opened.origin = Origin::Detached {
            from: Some(InferredLink {
                session: other,
                serial: vctl_common::id::CertSerial::new(7341),
                because: "same login uid 1000".to_owned(),
            }),
        };
        let mut by_key = Login::of_alice();
        by_key.session().opened.auth.certificate = None;
        by_key.session().opened.source_ip = "2001:db8::7".parse().ok();
        let finished = Login::of_alice().exec(4102, 4101, &["ls"]).after_ms(300);
        [
            Login::of_alice().open(),
            finished.closed(),
            late.closed(),
            detached.closed(),
            by_key.closed(),
        ]
        .map(|history| listed(history.session))
        .into()
    }

    #[test]
    fn unreadable_certificate_and_missing_stamp_are_marked() {
        let mut unreadable = Login::of_alice();
        unreadable.session().opened.auth.certificate = None;
        unreadable.session().opened.auth.unreadable_certificate = true;
        let unreadable = unreadable.closed().session;
        assert_eq!(header::who(&unreadable), "(unreadable certificate)");
        assert_eq!(record(&unreadable), "complete, unreadable certificate");
        let cause = vctl_common::session::GapCause::LoginWithoutStamp;
        for (stamp, shown) in [
            (Stamp::Late, "some missing, login without a stamp"),
            (Stamp::Missed, "not recorded, login without a stamp"),
        ] {
            let mut unasked = Login::of_alice();
            unasked.session().opened.stamp = stamp;
            let mut session = unasked.lost(0, 10, cause).closed().session;
            session.missing_ranges[0].events = None;
            assert_eq!(header::who(&session), "(login without a stamp)");
            assert_eq!(record(&session), shown);
        }
    }

    #[test]
    fn list_has_the_documented_columns() {
        let list = rendered(|out| write(out, &sessions(), false, Layout::default()));
        assert_golden("list.txt", &list);
        let list = rendered(|out| write(out, &sessions(), true, Layout::default()));
        assert_golden("list-wide.txt", &list);
    }

    #[test]
    fn narrow_terminal_shows_short_distinct_ids() {
        let narrow = Layout {
            width: Some(80),
            full: false,
        };
        let list = rendered(|out| write(out, &sessions(), false, narrow));
        assert_golden("list-narrow.txt", &list);
        assert_eq!(list.matches("0193f3a1-7c4e").count(), 5);
        let ids = [
            "0193f3a1-7c4e-7d61-9f0a-2b5c6d7e8f90",
            "0193f3a1-7c4e-7d62-9f0a-2b5c6d7e8f90",
        ];
        assert_eq!(distinct(0, &ids.map(str::to_owned)), 18);
        assert_eq!(distinct(0, &[ids[0].to_owned()]), 13);
    }
}
