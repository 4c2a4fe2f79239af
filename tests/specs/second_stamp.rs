//! A login that PAM stamps twice has one session, the first one, and reports that there were two stamps.

use vctl_common::session::Stamp;
use vctl_tests::fixture::{Stage, await_file, await_that, exec_of, touch};
use vctl_tests::lab::{Certificate, Lab, Options};

/// Makes each login run the hook twice, the second time from a file that the PAM stack includes.
fn twice(lab: &Lab) -> tempfile::NamedTempFile {
    let included = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(included.path(), lab.pam_line()).unwrap();
    let include = format!("session include {}\n", included.path().display());
    lab.set_pam_lines(&(lab.pam_line() + &include)).unwrap();
    included
}

/// Ends the agent, because it writes its status then. Otherwise the status is up to 30 seconds old.
fn second_stamps(lab: &mut Lab) -> u64 {
    assert!(lab.agent.stop().unwrap().success());
    let status = vctl_common::status::read(&lab.root().join("run"));
    status.unwrap().logins.second_stamps
}

/// Asserts that one session contains both commands of the login, and that it ends with the login.
fn one_session(lab: &Lab, stage: &Stage, who: &Certificate) {
    let output = stage.start(lab, who, "$T one; $T two").wait_with_output();
    assert!(output.unwrap().status.success());
    let session = lab.whole_session(who).unwrap();
    let truths = stage.running();
    let of_login = truths.iter().filter(|truth| truth.case == who.key_id);
    assert_eq!(of_login.clone().count(), 2);
    for truth in of_login {
        assert!(
            exec_of(&session, truth).is_some(),
            "{:#?}",
            session.summary()
        );
    }
    assert_eq!(lab.sessions_of(who).unwrap().len(), 1);
}

#[test]
fn a_second_stamp_leaves_the_first_session_alone() {
    for mode in ["best-effort", "strict"] {
        let options = Options {
            agent: vec![("mode", mode.to_owned())],
            ..Options::default()
        };
        let Some(mut lab) = Lab::or_skip(&options) else {
            return;
        };
        let stage = Stage::set(&lab);
        let _included = twice(&lab);
        for (serial, key_id) in [(1, "alice"), (2, "bob")] {
            let who = lab.certificate(key_id, serial).unwrap();
            one_session(&lab, &stage, &who);
        }
        assert_eq!(second_stamps(&mut lab), 2);
        let log = std::fs::read_to_string(&lab.agent.log).unwrap();
        assert!(log.contains("A login was stamped twice"), "{log}");
    }
}

#[test]
fn two_markers_of_one_login_are_one_session() {
    let Some(mut lab) = Lab::or_skip(&Options::default()) else {
        return;
    };
    let stage = Stage::set(&lab);
    let _included = twice(&lab);
    let over = lab.certificate("over", 1).unwrap();
    let going_on = lab.certificate("going_on", 2).unwrap();
    lab.agent.kill().unwrap();
    lab.ssh_ok(&over, "true").unwrap();
    let body = "touch inside; while [ ! -e go ]; do sleep 0.1; done; $T after";
    let login = stage.start(&lab, &going_on, body);
    await_file(&lab.home().join("inside"));
    assert_eq!(lab.markers().unwrap(), 4);
    lab.agent.start().unwrap();
    await_that("the agent has read the markers", || {
        lab.markers().unwrap() == 0
    });
    touch(&lab.home().join("go"));
    assert!(login.wait_with_output().unwrap().status.success());
    let session = lab.closed_sessions(&going_on, 1).unwrap().remove(0);
    assert_eq!(session.session.opened.stamp, Stamp::Late);
    assert!(exec_of(&session, &stage.running()[0]).is_some());
    assert_eq!(lab.closed_sessions(&over, 1).unwrap().len(), 1);
    assert_eq!(second_stamps(&mut lab), 2);
}
