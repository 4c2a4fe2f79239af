//! A session as a timeline, oldest line first.

use std::io::{self, Write};

use super::line::{MissingEnd, ProcessLine};
use super::{detail, header};
use crate::session::model::timeline::{EntryKind, entries};
use crate::session::model::{History, Session, path_search};
use crate::ui::{DIM, Layout, WARN, time};

pub(crate) fn write(out: &mut dyn Write, history: &History, layout: Layout) -> io::Result<()> {
    let session = &history.session;
    header::write(out, session, layout)?;
    writeln!(out)?;
    let missing_end = missing_end(session);
    let mut day = String::new();
    let mut entries = entries(history);
    if !layout.full {
        path_search::fold(&mut entries);
    }
    for entry in entries {
        if !layout.full && !entry.is_essential() {
            continue;
        }
        write_day(out, &mut day, entry.time)?;
        if let EntryKind::Missing(range) = entry.kind {
            writeln!(
                out,
                "{WARN}-- {} --{WARN:#}",
                header::missing_range(range, session)
            )?;
        }
        let Some(line) = ProcessLine::of(&entry, missing_end) else {
            continue;
        };
        line.write(out, layout)?;
        if layout.full {
            detail::write(out, &entry)?;
        }
    }
    writeln!(out)?;
    header::write_footer(out, session, history.deleted)?;
    header::write_left_out(out, history)
}

/// Writes the date if it differs from that of the previous line.
pub(crate) fn write_day(
    out: &mut dyn Write,
    day: &mut String,
    time: std::time::SystemTime,
) -> io::Result<()> {
    let today = time::date(time);
    if *day != today {
        writeln!(out, "{DIM}{today} UTC{DIM:#}")?;
        *day = today;
    }
    Ok(())
}

pub(crate) fn missing_end(session: &Session) -> MissingEnd {
    match session.closed {
        None => MissingEnd::Running,
        Some(_) => MissingEnd::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use vctl_common::event::Attribution;
    use vctl_common::session::{GapCause, InferredLink, Origin, Stamp};

    use super::*;
    use crate::fixture::{LEADER, Login, assert_golden, rendered, session_id};

    fn timeline(history: &History) -> String {
        rendered(|out| write(out, history, Layout::default()))
    }

    /// Three minutes of typical work.
    fn working_day() -> Login {
        Login::of_alice()
            .after_ms(12)
            .exec(4102, 4101, &["-bash"])
            .after_ms(900)
            .exec(4110, 4102, &["ps", "aux"])
            .exec(4111, 4102, &["grep", "my app"])
            .after_ms(8)
            .exit(4110, 4102, 0)
            .exit(4111, 4102, 1)
            .after_ms(2_000)
            .exit(4112, 4102, 0)
            .exec_with(4120, 4102, &["sudo", "-u", "root", "id"], |exec| {
                exec.euid = 0;
            })
            .after_ms(20)
            .exec_with(4121, 4120, &["id"], |exec| (exec.ruid, exec.euid) = (0, 0))
            .after_ms(2)
            .exit(4121, 4120, 0)
            .exit(4120, 4102, 0)
            .exec_failed(4130, 4102, 2, &["kubctl", "get", "pods"])
            .exit(4130, 4102, 127)
            .after_ms(61_000)
            .exec_with(4140, 4102, &["./deploy.sh", "", "--yes"], |exec| {
                exec.script = true;
                exec.filename = b"./deploy.sh".to_vec();
                exec.exe.path = b"/usr/bin/dash".to_vec();
            })
            .after_ms(3)
            .exec(4140, 4102, &["make", "all"])
            .after_ms(70)
            .killed(4140, 4102, 9)
    }

    #[test]
    fn program_and_its_end_are_one_line() {
        let history = working_day()
            .after_ms(100)
            .exit(4102, 4101, 0)
            .exit(4101, LEADER, 0)
            .exit(LEADER, 800, 0)
            .closed();
        assert_golden("timeline.txt", &timeline(&history));
    }

    /// Looks for a program in two directories without it, as `env` does.
    fn search(login: Login, errnos: [u32; 2], argv: &[&str]) -> Login {
        errnos.into_iter().fold(login, |login, errno| {
            login.exec_failed(4102, 4101, errno, argv)
        })
    }

    #[test]
    fn successful_search_shows_only_the_program() {
        let found = search(Login::of_alice(), [2, 20], &["bash", "-l"])
            .exec_failed(4103, 4101, 2, &["bash", "-l"])
            .exec(4102, 4101, &["bash", "-l"])
            .open();
        let shown = timeline(&found);
        assert_eq!(shown.matches("bash -l").count(), 2, "{shown}");
        assert_eq!(shown.matches("not executed").count(), 1, "{shown}");
        let full = Layout {
            full: true,
            width: None,
        };
        let full = rendered(|out| write(out, &found, full));
        assert_eq!(full.matches("not executed").count(), 3, "{full}");
    }

    #[test]
    fn successful_search_shows_only_the_script() {
        let found = search(Login::of_alice(), [2, 2], &["deploy", "--yes"])
            .exec_with(
                4102,
                4101,
                &["/bin/sh", "/usr/bin/deploy", "--yes"],
                |exec| {
                    exec.script = true;
                    exec.filename = b"/usr/bin/deploy".to_vec();
                },
            )
            .open();
        let shown = timeline(&found);
        assert!(!shown.contains("not executed"), "{shown}");
    }

    #[test]
    fn failed_search_is_one_line_with_the_users_error() {
        let vain = search(Login::of_alice(), [2, 13], &["kubctl", "get"])
            .exec(4102, 4101, &["sh"])
            .open();
        let shown = timeline(&vain);
        assert_eq!(shown.matches("kubctl get").count(), 1, "{shown}");
        assert!(shown.contains("EACCES"), "{shown}");
        assert!(
            shown.contains("[not executed: tried in 2 directories]"),
            "{shown}"
        );
    }

    #[test]
    fn another_file_or_another_error_is_not_a_search() {
        let tried = Login::of_alice()
            .exec_failed(4102, 4101, 7, &["ls"])
            .exec_with(4102, 4101, &["ls"], |_| {})
            .exec_failed(4103, 4101, 13, &["cat"])
            .exec_with(4103, 4101, &["cat"], |exec| {
                exec.filename = b"/usr/bin/other".to_vec();
            })
            .open();
        let shown = timeline(&tried);
        assert_eq!(
            shown.matches("not executed: /usr/bin/").count(),
            2,
            "{shown}"
        );
    }

    #[test]
    fn full_shows_every_field_and_every_process() {
        let history = Login::of_alice()
            .exec(4102, 4101, &["true"])
            .after_ms(3)
            .exit(4102, 4101, 0)
            .moved(4101, 7002, None)
            .exit(4101, LEADER, 0)
            .closed();
        let full = Layout {
            full: true,
            width: None,
        };
        assert_golden(
            "timeline-full.txt",
            &rendered(|out| write(out, &history, full)),
        );
    }

    #[test]
    fn unusual_facts_are_noted_beside_the_program() {
        let history = Login::of_alice()
            .exec_with(4102, 4101, &["[kworker/0:1]"], |exec| {
                exec.exe.path = b"/memfd:x".to_vec();
                exec.exe.memfd = true;
                exec.exe.deleted = true;
            })
            .exec_with(4103, 4101, &["cat", "-"], |exec| {
                exec.argv_truncated = true;
                exec.argv_true_len = 2_000_000;
                exec.other_audit_session = true;
                exec.other_cgroup = true;
            })
            .exec_with(4107, 4101, &["x"], |exec| {
                exec.argv_truncated = true;
                exec.over_budget = true;
                exec.argv_true_len = 130_000;
            })
            .exec_with(4104, 4101, &["curl", "-u", "********"], |exec| {
                exec.redacted = true;
            })
            .exec_with(4105, 4101, &[], |exec| exec.filename = b"/bin/x y".to_vec())
            .exec(4106, 4101, &["at", "now"])
            .inferred(Attribution::AuditSession)
            .moved(
                4106,
                7002,
                Some(session_id("0193f3a1-7c4e-7d61-9f0a-000000000001")),
            )
            .open();
        assert_golden("timeline-odd.txt", &timeline(&history));
    }

    #[test]
    fn missing_events_are_shown_at_their_time() {
        let history = working_day()
            .lost(12, 250, GapCause::RingFull)
            .exit(4102, 4101, 0)
            .closed();
        let shown = timeline(&history);
        assert_golden("timeline-hole.txt", &shown);
        assert!(
            shown.contains(
                "-- 12 events missing between 22:02:04.015 and 22:02:04.265 (the ring was full) --"
            ),
            "{shown}"
        );
        assert!(shown.contains("INCOMPLETE: 12 events missing"), "{shown}");
    }

    #[test]
    fn session_stamped_late_is_never_complete() {
        let mut login = Login::of_alice()
            .exec(4102, 4101, &["bash"])
            .exit(4102, 4101, 0);
        login.session().opened.stamp = Stamp::Late;
        let shown = timeline(&login.closed());
        assert!(
            shown.contains("INCOMPLETE: an unknown number of events missing (stamped late)"),
            "{shown}"
        );
        assert!(!shown.contains("\ncomplete"), "{shown}");
    }

    #[test]
    fn open_session_is_never_shown_as_complete() {
        let shown = timeline(&Login::of_alice().exec(4102, 4101, &["vi"]).open());
        assert!(
            shown.contains("still open: 1 event so far, none missing"),
            "{shown}"
        );
        assert!(shown.contains("running"), "{shown}");
    }

    #[test]
    fn unproven_link_is_shown_as_inferred() {
        let mut login = Login::of_alice();
        login.session().opened.origin = Origin::Detached {
            from: Some(InferredLink {
                session: session_id("0193f3a1-7c4e-7d61-9f0a-000000000001"),
                serial: vctl_common::id::CertSerial::new(7341),
                because: "same login uid 1000".to_owned(),
            }),
        };
        let shown = timeline(&login.open());
        assert!(
            shown.contains("from session 0193f3a1-7c4e-7d61-9f0a-000000000001 (serial 7341), inferred: same login uid 1000"),
            "{shown}"
        );
    }

    #[test]
    fn recorded_text_is_always_escaped() {
        let evil = "x\u{1b}[2J\u{202e}\nsession";
        let mut login = Login::of_alice().exec_with(4102, 4101, &[evil], |exec| {
            exec.exe.path = evil.into();
            exec.filename = evil.into();
            exec.cwd = evil.into();
            exec.script = true;
        });
        let opened = &mut login.session().opened;
        opened.login_user = evil.to_owned();
        opened.service = evil.to_owned();
        opened.tty = Some(evil.to_owned());
        opened.remote_host = Some(evil.to_owned());
        opened.source_ip = None;
        opened.auth.method = Some(evil.to_owned());
        opened.auth.problem = Some(evil.to_owned());
        let certificate = opened.auth.certificate.as_mut().unwrap();
        certificate.key_id = evil.to_owned();
        certificate.ca_fingerprint = evil.to_owned();
        opened.origin = Origin::Detached {
            from: Some(InferredLink {
                session: opened.id,
                serial: None,
                because: evil.to_owned(),
            }),
        };
        login.session().host = evil.to_owned();
        let history = login.closed();
        let full = Layout {
            full: true,
            width: None,
        };
        let mut page = Vec::new();
        write(&mut page, &history, full).unwrap();
        super::super::tree::write(&mut page, &history, full).unwrap();
        let page = String::from_utf8(page).unwrap();
        assert!(
            !page.contains("\u{1b}[2J") && !page.contains('\u{202e}'),
            "{page:?}"
        );
        let ours = |line: &&str| line.contains("session 0193f3a1") || line.contains("all 1 event");
        let forged = page.lines().filter(|line| line.starts_with("session"));
        assert_eq!(forged.filter(|line| !ours(line)).count(), 0, "{page}");
        assert!(page.matches(r"\u202e\nsession").count() > 15, "{page}");
    }

    #[test]
    fn narrow_terminal_cuts_the_command_not_the_notes() {
        let long = "a".repeat(300);
        let history = Login::of_alice()
            .exec_with(4102, 4101, &["echo", &long], |exec| exec.redacted = true)
            .open();
        let narrow = Layout {
            width: Some(100),
            full: false,
        };
        let shown = rendered(|out| write(out, &history, narrow));
        let line = shown.lines().find(|line| line.contains("echo")).unwrap();
        assert!(line.ends_with("…  [secrets masked]"), "{line}");
        assert_eq!(unicode_width::UnicodeWidthStr::width(line), 100);
        assert!(timeline(&history).contains(&long));
    }
}
