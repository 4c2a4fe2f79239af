//! Certificates of every size, padded in every possible field. The login itself writes a file if it succeeds, and
//! sshd's log names the accepted certificates.

use vctl_common::session::{GapCause, KEY_ID_MAX, Stamp};
use vctl_tests::fixture::{await_file, await_that, lab, touch};
use vctl_tests::lab::{Certificate, Lab, Subject};

use super::{certificate, list, log, too_large, trace, without_stamp};

/// Sizes of a certificate's text in KiB. The limit of execve for all of `SSH_AUTH_INFO_0` is 128 KiB.
const SIZES: [usize; 11] = [1, 30, 60, 63, 65, 90, 105, 125, 127, 129, 200];

/// The largest of these sizes that still lets a hook start.
const FITS: usize = 127;

const FIELDS: [Field; 5] = [
    Field::KeyId,
    Field::Principals,
    Field::SourceAddress,
    Field::ForceCommand,
    Field::Extensions,
];

#[derive(Clone, Copy, Debug)]
enum Field {
    KeyId,
    Principals,
    SourceAddress,
    ForceCommand,
    Extensions,
}

/// Returns a certificate with a text of about `kib` KiB. Returns `None` if ssh-keygen cannot make it, because its own
/// arguments are limited to 128 KiB.
fn padded(lab: &Lab, field: Field, kib: usize, serial: u64) -> Option<Certificate> {
    // The text is base64, and about 900 bytes of it are key, nonce and signature.
    let bytes = (kib * 1024).saturating_sub(900) * 3 / 4;
    let user = lab.user();
    let pad = |len: usize| "x".repeat(len);
    let key_id = format!("mallory-{serial}");
    if bytes > 125_000 && !matches!(field, Field::Extensions) {
        return None;
    }
    Some(match field {
        Field::KeyId => certificate(lab, &format!("{key_id}{}", pad(bytes)), serial, &[]),
        Field::Principals => {
            // The limit of sshd is 256 principals.
            let names = 200;
            let one = pad((bytes / names).saturating_sub(4).max(1));
            let principals = format!("{user},{}", vec![one; names].join(","));
            let subject = Subject {
                key_id: &key_id,
                serial,
                principals: &principals,
                options: &[],
            };
            lab.certificate_of(0, subject).unwrap()
        }
        Field::SourceAddress => {
            let addresses = vec!["127.0.0.0/8"; bytes / 12].join(",");
            let option = format!("source-address={addresses}");
            certificate(lab, &key_id, serial, &[&option])
        }
        Field::ForceCommand => {
            let option = format!("force-command=touch in-{serial} #{}", pad(bytes));
            certificate(lab, &key_id, serial, &[&option])
        }
        Field::Extensions => {
            let half = pad(bytes / 2);
            let options = [1, 2].map(|n| format!("extension:pad{n}@example.com={half}"));
            certificate(
                lab,
                &key_id,
                serial,
                &options.each_ref().map(String::as_str),
            )
        }
    })
}

#[test]
fn a_padded_certificate_is_recorded_or_refused() {
    let Some(lab) = lab() else { return };
    let mut serial = 0;
    let mut stamped = 0;
    for field in FIELDS {
        for kib in SIZES {
            serial += 1;
            let Some(who) = padded(&lab, field, kib, serial) else {
                continue;
            };
            let case = format!("{field:?} of {kib} KiB");
            let accepted = lab.accepted().unwrap();
            let ended = lab.ssh(&who, format!("touch in-{serial}")).unwrap();
            let accepted = lab.accepted().unwrap() - accepted;
            let got_in = trace(&lab, serial).exists();
            assert!(accepted <= 1 && usize::from(got_in) <= accepted, "{case}");
            if kib <= FITS {
                assert_eq!(accepted, 1, "{case}: {ended:?}");
                let session = lab.closed_sessions(&who, 1).unwrap().remove(0);
                let auth = session.session.opened.auth;
                let key_id = auth.certificate.unwrap().key_id;
                let kept = who.key_id.len().min(KEY_ID_MAX);
                assert_eq!(key_id, who.key_id[..kept], "{case}");
                assert_eq!(
                    auth.problem.is_some(),
                    kept < who.key_id.len() || cuts_principals(field, kib),
                    "{case}: {:?}",
                    auth.problem
                );
                stamped += 1;
            } else {
                assert!(!got_in, "{case} logged in without a record: {ended:?}");
            }
        }
    }
    assert!(stamped >= 45, "{stamped}");
}

/// Returns whether the agent cuts the principals, of which it keeps 4 KiB.
fn cuts_principals(field: Field, kib: usize) -> bool {
    matches!(field, Field::Principals) && kib >= 30
}

#[test]
fn an_optional_stamp_line_leaves_a_gap() {
    let Some(lab) = lab() else { return };
    let optional = lab.pam_line().replace("required", "optional");
    lab.set_pam_lines(&optional).unwrap();
    let (stays, leaves) = (too_large(&lab, 1), too_large(&lab, 2));
    lab.ssh_ok(&leaves, "touch in-2").unwrap();
    let body = "touch in-1; while [ ! -e go ]; do sleep 0.1; done; /bin/echo seen-afterwards";
    let login = lab.ssh_start(&stays, body).unwrap();
    await_file(&trace(&lab, 1));
    await_that("both logins are found", || without_stamp(&lab).len() == 2);
    touch(&lab.home().join("go"));
    assert!(login.wait_with_output().unwrap().status.success());
    await_that("the sessions end", || {
        let sessions = without_stamp(&lab);
        sessions
            .iter()
            .all(|session| session.session.closed.is_some())
    });

    let sessions = without_stamp(&lab);
    let stamps: Vec<Stamp> = sessions
        .iter()
        .map(|found| found.session.opened.stamp)
        .collect();
    assert!(
        stamps.contains(&Stamp::Late) && stamps.contains(&Stamp::Missed),
        "{stamps:?}"
    );
    let mut stated = 0;
    for session in &sessions {
        let opened = &session.session.opened;
        assert_eq!(opened.login_user, lab.user());
        assert!(opened.audit_session.is_some() && opened.leader.tgid > 1);
        // Up to the entry in the spool, and up to the marks.
        let gaps = &session.session.gaps;
        assert!(
            gaps.iter()
                .all(|gap| gap.cause == GapCause::LoginWithoutStamp)
                && gaps.windows(2).all(|two| two[0].to == two[1].from),
            "{gaps:?}"
        );
        let count = if opened.stamp == Stamp::Late { 2 } else { 1 };
        assert_eq!(gaps.len(), count, "{gaps:?}");
        stated += count as u64;
    }
    assert!(
        sessions
            .iter()
            .any(|found| found.count("seen-afterwards") > 0)
    );
    let shown = list(&lab);
    assert_eq!(
        shown.matches("(login without a stamp)").count(),
        2,
        "{shown}"
    );
    assert!(
        shown.contains("not recorded, login without a stamp"),
        "{shown}"
    );
    let status = vctl_common::status::read(&lab.root().join("run")).unwrap();
    let logins = status.logins;
    assert_eq!((logins.without_stamp, logins.unstamped()), (2, 2));
    assert_eq!(status.losses[&GapCause::LoginWithoutStamp].unknown, stated);
    assert_eq!(log(&lab).matches("A login has no stamp").count(), 2);
}

#[test]
fn a_login_while_no_agent_runs_is_found_by_the_next() {
    let Some(mut lab) = lab() else { return };
    let held = lab.certificate("alice", 7).unwrap();
    lab.agent.kill().unwrap();
    let optional = lab.pam_line().replace("required", "optional");
    lab.set_pam_lines(&optional).unwrap();
    lab.ssh_ok(&too_large(&lab, 1), "touch in-1").unwrap();
    // In best-effort mode, the hook accepts this login and leaves a marker. The login counts as late, and not as a
    // login without a stamp.
    lab.ssh_ok(&held, "true").unwrap();
    lab.agent.start().unwrap();
    // While a session is open, the agent checks often.
    let open = lab.certificate("bob", 8).unwrap();
    let login = lab
        .ssh_start(&open, "while [ ! -e go ]; do sleep 0.1; done")
        .unwrap();
    await_that("the login is found", || without_stamp(&lab).len() == 1);
    // After another kill, the agent does not report the same login again.
    lab.agent.kill().unwrap();
    lab.agent.start().unwrap();
    touch(&lab.home().join("go"));
    login.wait_with_output().unwrap();
    lab.closed_sessions(&open, 1).unwrap();
    assert_eq!(without_stamp(&lab).len(), 1);
    let late = lab.closed_sessions(&held, 1).unwrap().remove(0);
    assert_eq!(late.session.opened.stamp, Stamp::Missed);
    assert_eq!(lab.sessions().unwrap().len(), 3);
}
