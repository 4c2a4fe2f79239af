//! The path from a command in an SSH session to rows at the centre, with the real probe, agent and sshd.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use vctl_tests::centre::{Centre, HostIdentity};
use vctl_tests::lab::{Lab, Options, PATIENCE, eventually};

struct Way {
    centre: &'static Centre,
    host: HostIdentity,
    lab: Lab,
    _dir: tempfile::TempDir,
}

fn way(name: &str, options: Options) -> Option<Way> {
    let centre = Centre::shared()?;
    let host = centre.enroll(name).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut options = options;
    options
        .agent
        .extend(centre.agent_keys(&host, dir.path()).unwrap());
    let lab = Lab::or_skip(&options)?;
    Some(Way {
        centre,
        host,
        lab,
        _dir: dir,
    })
}

impl Way {
    /// Expects that the sessions in the spool and at the centre are the same. The spool is complete here.
    fn ensure_all_is_there(&self) {
        let sessions = self.lab.sessions().unwrap();
        let truth: BTreeMap<_, _> = sessions
            .iter()
            .map(|s| (s.session.opened.id, s.events.len() as u64))
            .collect();
        self.centre
            .ensure_has(&self.host.name, &truth, PATIENCE)
            .unwrap();
    }
}

#[test]
fn commands_arrive_once_though_the_agent_is_killed() {
    let Some(mut way) = way("probe-killed", Options::default()) else {
        return;
    };
    let who = way.lab.certificate("alice", 41).unwrap();
    let login = way
        .lab
        .ssh_start(
            &who,
            "touch inside; for i in $(seq 400); do /bin/true $i; done",
        )
        .unwrap();
    let inside = way.lab.home().join("inside");
    assert!(eventually(PATIENCE, || Ok(inside.exists())).unwrap());
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(150));
        way.lab.agent.kill().unwrap();
        way.lab.agent.start().unwrap();
    }
    assert!(login.wait_with_output().unwrap().status.success());
    let session = way.lab.whole_session(&who).unwrap();
    assert!(session.runs_of("true").count() == 400);
    way.ensure_all_is_there();
    let sql = format!(
        "select count(*) from vctl.kernel_event where session_id = '{}' and exe = '/usr/bin/true' and kind = 1",
        session.session.opened.id
    );
    assert_eq!(way.centre.ask(&sql).unwrap(), "400");
}

#[test]
fn commands_behind_a_detach_arrive_as_those_before_it() {
    let Some(mut way) = way("probe-detached", Options::default()) else {
        return;
    };
    let who = way.lab.certificate("alice", 44).unwrap();
    let work = "for i in $(seq 50); do /bin/true $i; done; touch inside; \
                while [ ! -e go ]; do sleep 0.1; done; for i in $(seq 51 60); do /bin/true $i; done";
    let login = way.lab.ssh_start(&who, work).unwrap();
    let home = way.lab.home();
    assert!(eventually(PATIENCE, || Ok(home.join("inside").exists())).unwrap());
    let id = way.lab.sessions_of(&who).unwrap()[0].session.opened.id;
    let sql = format!(
        "select count(*) from vctl.kernel_event where session_id = '{id}' and exe = '/usr/bin/true' and kind = 1"
    );
    assert!(eventually(PATIENCE, || Ok(way.centre.ask(&sql)? == "50")).unwrap());
    way.lab.agent.stop().unwrap();
    assert!(way.lab.agent.run("detach", &[]).unwrap().status.success());
    way.lab.agent.start().unwrap();
    fs::write(home.join("go"), "").unwrap();
    assert!(login.wait_with_output().unwrap().status.success());
    let session = way.lab.closed_sessions(&who, 1).unwrap().remove(0);
    assert_eq!(session.runs_of("true").count(), 60);
    way.ensure_all_is_there();
    assert_eq!(way.centre.ask(&sql).unwrap(), "60");
}

#[test]
fn a_command_is_seen_at_the_centre_while_its_session_goes_on() {
    let Some(way) = way("probe-quick", Options::default()) else {
        return;
    };
    let who = way.lab.certificate("alice", 42).unwrap();
    let login = way
        .lab
        .ssh_start(
            &who,
            "/bin/true go-on; while [ ! -e leave ]; do sleep 0.1; done",
        )
        .unwrap();
    let sql = "select 1 from vctl.kernel_event \
               where argv = convert_to('/bin/true', 'UTF8') || '\\x00'::bytea || \
                  convert_to('go-on', 'UTF8') || '\\x00'::bytea limit 1";
    assert!(eventually(PATIENCE, || Ok(!way.centre.ask(sql)?.is_empty())).unwrap());
    fs::write(way.lab.home().join("leave"), "").unwrap();
    assert!(login.wait_with_output().unwrap().status.success());
}

#[test]
fn a_full_disk_at_the_spool_costs_no_event_at_the_centre() {
    let options = Options {
        spool_bytes: Some(4 << 20),
        agent: vec![
            ("spool_cap", "64MiB".to_owned()),
            ("segment_size", "1MiB".to_owned()),
        ],
        ..Options::default()
    };
    let Some(way) = way("probe-full", options) else {
        return;
    };
    let who = way.lab.certificate("alice", 43).unwrap();
    way.lab.ssh_ok(&who, "true").unwrap();
    let filler = way.lab.spool().join("filler");
    let login = way
        .lab
        .ssh_start(&who, "touch inside; for i in $(seq 300); do /bin/true $i; done; touch done; while [ ! -e leave ]; do sleep 0.1; done")
        .unwrap();
    let home = way.lab.home();
    assert!(eventually(PATIENCE, || Ok(home.join("inside").exists())).unwrap());
    fill(&filler);
    assert!(eventually(PATIENCE, || Ok(home.join("done").exists())).unwrap());
    fs::remove_file(&filler).unwrap();
    fs::write(home.join("leave"), "").unwrap();
    assert!(login.wait_with_output().unwrap().status.success());
    let sessions = way.lab.closed_sessions(&who, 2).unwrap();
    let session = sessions.iter().find(|s| s.events.len() > 300).unwrap();
    session.ensure_whole().unwrap();
    way.ensure_all_is_there();
}

fn fill(path: &std::path::Path) {
    use std::io::Write;
    let mut file = fs::File::create(path).unwrap();
    let block = vec![0; 4096];
    while file.write_all(&block).is_ok() {}
}
