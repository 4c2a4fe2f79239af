//! `local_log: journald`: sessions and programs in the log of the host, with a receiver in place of journald.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use vctl_tests::lab::{Lab, Options};

use vctl_common::event::Phase;

/// Puts the directory `systemd` beside the agent's configuration in the place of /run/systemd.
const OWN_JOURNAL: &str =
    r#"mkdir -p /run/systemd && mount --bind "${3%/*}/systemd" /run/systemd || exit 1"#;

/// The fields of an entry, by their names.
type Entry = BTreeMap<String, String>;

/// A receiver at journald's socket.
struct Journald {
    socket: PathBuf,
    reader: JoinHandle<Vec<Entry>>,
}

impl Journald {
    fn begin(socket: PathBuf) -> Self {
        let daemon = UnixDatagram::bind(&socket).unwrap();
        let reader = thread::spawn(move || {
            let mut entries = Vec::new();
            let mut buffer = vec![0; 1 << 18];
            loop {
                let length = daemon.recv(&mut buffer).unwrap();
                if length == 0 {
                    return entries;
                }
                let text = std::str::from_utf8(&buffer[..length]).unwrap();
                let fields = text.strip_suffix('\n').unwrap().split('\n');
                let fields = fields.map(|field| {
                    let (name, value) = field.split_once('=').unwrap();
                    (name.to_owned(), value.to_owned())
                });
                entries.push(fields.collect());
            }
        });
        Self { socket, reader }
    }

    /// Ends the receiver, and returns the entries so far.
    fn end(self) -> Vec<Entry> {
        let client = UnixDatagram::unbound().unwrap();
        client.send_to(&[], &self.socket).unwrap();
        let entries = self.reader.join().unwrap();
        fs::remove_file(&self.socket).unwrap();
        entries
    }
}

fn check(lab: &Lab) -> String {
    let output = lab.agent.command("check").arg("--local").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let finding = text.lines().find(|line| line.contains(" local_log "));
    finding.unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn journald_gets_sessions_and_programs_and_delays_nothing() {
    let options = Options {
        agent: vec![("local_log", "journald".to_owned())],
        ..Options::default()
    };
    let Some(mut lab) = Lab::or_skip(&options) else {
        return;
    };
    let own = lab.agent.config.parent().unwrap().join("systemd");
    let journal = own.join("journal");
    fs::create_dir_all(&journal).unwrap();
    lab.agent.stop().unwrap();
    lab.agent.before = Some(OWN_JOURNAL);
    let daemon = Journald::begin(journal.join("socket"));
    lab.agent.start().unwrap();

    let who = lab.certificate("alice", 1).unwrap();
    let forged = "x\" uid=0 \"\n<0>sshd: forged";
    let command =
        format!("/bin/echo --password=hunter2 '{forged}' $(printf '\\033[2J\\377') > /dev/null");
    lab.ssh_ok(&who, &command).unwrap();
    let recorded = lab.whole_session(&who).unwrap();
    assert!(check(&lab).starts_with("pass"), "{}", check(&lab));
    let id = recorded.session.opened.id.to_string();
    let entries: Vec<Entry> = daemon.end();
    let ours: Vec<&Entry> = entries
        .iter()
        .filter(|entry| entry.get("VCTL_SESSION") == Some(&id))
        .collect();
    let events: Vec<&str> = ours.iter().map(|entry| &*entry["VCTL_EVENT"]).collect();
    let programs = recorded
        .execs()
        .filter(|(event, _)| event.phase == Phase::User);
    let programs = programs.count();
    assert_eq!(events.first(), Some(&"session-opened"), "{events:?}");
    assert_eq!(events.last(), Some(&"session-closed"), "{events:?}");
    let execs = events.iter().filter(|event| event.starts_with("exec"));
    assert_eq!(execs.count(), programs, "{events:?}");
    for entry in &ours[..ours.len() - 1] {
        assert_eq!(
            (&*entry["VCTL_SERIAL"], &*entry["VCTL_USER"]),
            ("1", lab.user())
        );
    }
    let is_echo = |entry: &&&Entry| {
        let argv = entry.get("VCTL_ARGV");
        argv.is_some_and(|argv| argv.starts_with("/bin/echo "))
    };
    let echo = ours.iter().find(is_echo).unwrap();
    let shown = r#" "x\" uid=0 \"\n<0>sshd: forged" "\x1b[2J\xff""#;
    assert!(echo["VCTL_ARGV"].ends_with(shown), "{echo:?}");
    assert!(echo["MESSAGE"].ends_with(&format!("{shown}]")), "{echo:?}");
    assert_eq!(echo["SYSLOG_IDENTIFIER"], "vctl-agent");
    assert!(!format!("{entries:?}").contains("hunter2"));

    without_the_daemon(&mut lab, &journal);
}

/// A login without the daemon is recorded as a whole, and its lines are counted.
fn without_the_daemon(lab: &mut Lab, journal: &Path) {
    let who = lab.certificate("bob", 2).unwrap();
    lab.ssh_ok(&who, "/bin/true").unwrap();
    lab.whole_session(&who).unwrap().ensure_whole().unwrap();
    // The last counters are in the file of the status.
    lab.agent.stop().unwrap();
    fs::write(journal.join("socket"), "").unwrap();
    let finding = check(lab);
    assert!(finding.starts_with("warn"), "{finding}");
    assert!(finding.contains("dropped since the boot"), "{finding}");
}
