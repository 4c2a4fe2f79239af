//! A user floods the spool to remove another user's record.

use std::fs;
use std::process::Child;

use vctl_common::session::GapCause;
use vctl_common::status;
use vctl_tests::fixture::{await_file, await_that};
use vctl_tests::lab::{Certificate, Lab, Options, Recorded, Subject};

/// Starts a lab with a spool that is full within seconds.
fn small_spool(more_users: usize) -> Option<Lab> {
    Lab::or_skip(&Options {
        agent: vec![
            ("spool_cap", "256KiB".to_owned()),
            ("segment_size", "64KiB".to_owned()),
        ],
        more_users,
        ..Options::default()
    })
}

/// Returns the number of events that a session's gaps report at the cap. Checks that each event of the session is
/// either stored or counted in a gap.
fn dropped(session: &Recorded) -> u64 {
    let gaps = session.session.gaps.iter();
    let gaps = gaps.filter(|gap| gap.cause == GapCause::SpoolCap);
    let dropped = gaps.filter_map(|gap| gap.events).sum();
    let produced = session.session.closed.as_ref().unwrap().produced;
    assert_eq!(produced, Some(session.events.len() as u64 + dropped));
    dropped
}

fn ended(login: Child) {
    let output = login.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn one_session_floods_and_only_its_own_events_go() {
    let Some(lab) = small_spool(0) else { return };
    let [before, during, flood] = [("before", 1), ("during", 2), ("flood", 3)]
        .map(|(key, n)| lab.certificate(key, n).unwrap());
    lab.ssh_ok(&before, "for i in $(seq 20); do /bin/true $i; done")
        .unwrap();
    lab.whole_session(&before).unwrap();
    let work = "touch inside; while [ ! -e go ]; do sleep 0.05; done; \
                for i in $(seq 20); do /bin/true $i; done";
    let victim = lab.ssh_start(&during, work).unwrap();
    await_file(&lab.home().join("inside"));
    let large = "long=$(head -c 120000 /dev/zero | tr '\\0' x); \
                 for i in $(seq 40); do /bin/true $long; done; \
                 touch go; for i in $(seq 800); do /bin/true $i; done";
    lab.ssh_ok(&flood, large).unwrap();
    ended(victim);
    lab.whole_session(&before).unwrap();
    lab.whole_session(&during).unwrap();
    let flood = lab.closed_sessions(&flood, 1).unwrap().remove(0);
    assert!(
        dropped(&flood) > 0,
        "the spool was never full: the spec proves nothing"
    );
}

#[test]
fn argv_beyond_the_budget_is_dropped_and_marked() {
    let Some(lab) = small_spool(0) else { return };
    let [flood, other] =
        [("flood", 1), ("other", 2)].map(|(key, n)| lab.certificate(key, n).unwrap());
    let large = "long=$(head -c 120000 /dev/zero | tr '\\0' x); \
                 for i in 1 2 3 4 5 6; do /bin/true $long; sleep 0.1; done; \
                 /nonexistent/${long:0:4000} || true";
    lab.ssh_ok(&flood, large).unwrap();
    let session = lab.whole_session(&flood).unwrap();
    let long: Vec<_> = session
        .execs()
        .map(|(_, exec)| exec)
        .filter(|exec| exec.argv_true_len > 100_000)
        .collect();
    assert_eq!(long.len(), 6, "{:#?}", session.summary());
    let kept = |nth: usize| long[nth].argv.iter().map(Vec::len).sum::<usize>();
    assert!(
        kept(0) > 100_000 && !long[0].over_budget,
        "the first event is not complete"
    );
    assert!(kept(5) <= 256, "{} bytes", kept(5));
    assert!(long[5].over_budget && long[5].argv_truncated);
    let mut names = session.events.iter().filter_map(|event| match &event.kind {
        vctl_common::event::EventKind::ExecFailed { exec, .. } => Some(exec),
        _ => None,
    });
    assert!(
        names
            .next_back()
            .is_some_and(|exec| exec.over_budget && exec.filename.len() <= 256)
    );
    let shown = lab.vctl(&["session", "--local", "1"]).unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout);
    assert!(
        shown.contains("cut: the session was over its byte budget"),
        "{shown}"
    );
    assert!(shown.contains("complete: all"), "{shown}");
    await_that("the status counts them", || {
        status::read(&lab.root().join("run")).is_ok_and(|status| status.execs_cut >= 6)
    });
    // A session of another account stores its own events.
    lab.ssh_ok(&other, "/bin/true $(head -c 2000 /dev/zero | tr '\\0' y)")
        .unwrap();
    let other = lab.whole_session(&other).unwrap();
    assert!(other.execs().all(|(_, exec)| !exec.over_budget));
}

#[test]
fn sessions_of_one_account_evict_no_other_account() {
    let Some(lab) = small_spool(1) else { return };
    let victim = lab.certificate("victim", 100).unwrap();
    let run = |who: &Certificate, user: &str, script: &str| {
        lab.ssh_command(who, user).arg(script).spawn().unwrap()
    };
    let work = "for i in $(seq 30); do /bin/true $i; done";
    ended(run(&victim, &lab.users()[1], work));
    lab.whole_session(&victim).unwrap();
    let flood: Vec<_> = (1..=20)
        .map(|n| lab.certificate(&format!("flood-{n}"), n).unwrap())
        .collect();
    let large = "long=$(head -c 20000 /dev/zero | tr '\\0' x); \
                 for i in $(seq 25); do /bin/true $long; done";
    // This is the limit of this sshd for logins at the same time.
    for logins in flood.chunks(5) {
        let start = |who| run(who, lab.user(), large);
        let logins: Vec<_> = logins.iter().map(start).collect();
        for login in logins {
            ended(login);
        }
    }
    await_that("the spool was full", || {
        let sessions = lab.sessions().unwrap();
        let mut gaps = sessions.iter().flat_map(|session| &session.session.gaps);
        gaps.any(|gap| gap.cause == GapCause::SpoolCap)
    });
    lab.whole_session(&victim).unwrap();
}

/// Returns a certificate as large as the hook can take. JSON writes each of its bytes as six.
fn padded(lab: &Lab, serial: u64) -> Certificate {
    let subject = Subject {
        key_id: &"\u{1}".repeat(32 * 1024),
        serial,
        principals: &format!(
            "{},{}",
            lab.user(),
            ["\u{1}"; 200].map(|one| one.repeat(160)).join(",")
        ),
        options: &[],
    };
    lab.certificate_of(0, subject).unwrap()
}

#[test]
fn idle_padded_logins_evict_no_record_and_stop_no_agent() {
    let options = Options {
        agent: vec![
            ("spool_cap", "2MiB".to_owned()),
            ("segment_size", "64KiB".to_owned()),
        ],
        more_users: 1,
        ..Options::default()
    };
    let Some(mut lab) = Lab::or_skip(&options) else {
        return;
    };
    let victim = lab.users()[1].clone();
    let run = |lab: &Lab, serial: u64| {
        let who = lab.certificate("victim", serial).unwrap();
        let work = "for i in $(seq 5); do /bin/true $i; done";
        ended(lab.ssh_command(&who, &victim).arg(work).spawn().unwrap());
        lab.whole_session(&who).unwrap();
        who
    };
    let before = run(&lab, 100);
    let who = padded(&lab, 1);
    let idle = "touch in-$$; while [ ! -e leave ]; do sleep 1; done";
    let logins: Vec<_> = (1..=4)
        .map(|count| {
            let login = lab.ssh_start(&who, idle).unwrap();
            await_that("the login is idle", || {
                let files = fs::read_dir(lab.home()).unwrap();
                let names = files.map(|file| file.unwrap().file_name());
                names
                    .filter(|name| name.to_string_lossy().starts_with("in-"))
                    .count()
                    == count
            });
            login
        })
        .collect();
    let during: Vec<_> = (101..106).map(|serial| run(&lab, serial)).collect();
    // A restart reads the idle sessions and repeats them.
    lab.agent.kill().unwrap();
    lab.agent.start().unwrap();
    let after = run(&lab, 110);
    fs::write(lab.home().join("leave"), "").unwrap();
    logins.into_iter().for_each(ended);
    for serial in [&before, &after].into_iter().chain(&during) {
        lab.whole_session(serial).unwrap();
    }
    let padded = lab.closed_sessions(&who, 4).unwrap();
    for session in &padded {
        session.ensure_whole().unwrap();
        let auth = &session.session.opened.auth;
        let problem = auth.problem.as_deref().unwrap_or_default();
        assert!(problem.contains("key id of 32768 bytes"), "{problem}");
    }
    let files = fs::read_dir(lab.spool()).unwrap();
    let bytes: u64 = files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes < 512 << 10, "{bytes} bytes for eleven short sessions");
}
