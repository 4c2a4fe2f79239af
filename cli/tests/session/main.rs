//! `vctl session --local`: runs the program on a spool.
#![allow(
    clippy::unwrap_used,
    reason = "clippy's exception for tests knows the test functions and not their helpers"
)]

mod page;
mod spool;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use spool::{Login, Spool};

fn vctl(spool: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vctl"));
    command
        .args(["session", "--local", "--spool"])
        .arg(spool)
        .args(args);
    for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "VCTL_SPOOL_DIR"] {
        command.env_remove(variable);
    }
    // The CAs of this machine's sshd must not affect the test.
    command.env("VCTL_TRUSTED_CA_KEYS", "/dev/null");
    command
}

fn run(spool: &Spool, args: &[&str]) -> Output {
    vctl(spool.path(), args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A closed session in which `command` ran.
fn session(spool: &mut Spool, key_id: &str, serial: u64, ca: &str, command: &str) -> Login {
    let mut login = Login::new(key_id, serial, ca);
    spool.open(&login);
    let records = [
        login.exec(4200, &["sh", "-c", command]),
        login.exit(4200, 0),
    ];
    spool.store(&login, &records);
    spool.close(&login);
    login
}

#[test]
fn each_person_is_shown_with_their_own_commands() {
    let mut spool = Spool::new();
    session(&mut spool, "alice", 11, "ca-a", "whoami # by alice");
    session(&mut spool, "bob", 12, "ca-a", "whoami # by bob");
    let alice = stdout(&run(&spool, &["11"]));
    assert!(alice.contains("sh -c 'whoami # by alice'"), "{alice}");
    assert!(alice.contains("complete: all 2 events"), "{alice}");
    assert!(!alice.contains("bob"), "{alice}");
}

#[test]
fn a_variable_names_the_spool_only_for_local() {
    let mut spool = Spool::new();
    session(&mut spool, "alice", 11, "ca-a", "whoami");
    let vctl = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vctl"));
        let command = command.args(args).env("VCTL_TRUSTED_CA_KEYS", "/dev/null");
        command
            .env("VCTL_SPOOL_DIR", spool.path())
            .output()
            .unwrap()
    };
    assert!(stdout(&vctl(&["session", "--local", "11"])).contains("whoami"));
    let option = ["session", "11", "--spool", spool.path().to_str().unwrap()];
    let refused = vctl(&option);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(stderr(&refused).contains("--local"), "{refused:?}");
}

#[test]
fn a_session_id_names_one_session_of_a_serial() {
    let mut spool = Spool::new();
    let first = session(&mut spool, "alice", 11, "ca-a", "first");
    session(&mut spool, "alice", 11, "ca-a", "second");
    let both = stdout(&run(&spool, &["11"]));
    let (before, after) = (both.find("first").unwrap(), both.find("second").unwrap());
    assert!(before < after, "{both}");
    let one = stdout(&run(&spool, &[&first.id()]));
    assert!(one.contains("first") && !one.contains("second"), "{one}");
}

#[test]
fn one_serial_of_two_cas_gets_a_warning() {
    let mut spool = Spool::new();
    session(&mut spool, "alice", 11, "ca-a", "x");
    session(&mut spool, "mallory", 11, "ca-b", "y");
    let output = run(&spool, &["11"]);
    let note = stderr(&output);
    assert!(note.contains("2 CAs"), "{note}");
    assert!(
        note.contains("SHA256:ca-a  key id alice") && note.contains("SHA256:ca-b  key id mallory"),
        "{note}"
    );
}

#[test]
fn the_list_is_newest_first_and_limited() {
    let mut spool = Spool::new();
    for serial in 1..=3 {
        session(&mut spool, &format!("person-{serial}"), serial, "ca", "x");
    }
    let list = stdout(&run(&spool, &["-n", "2"]));
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 3, "{list}");
    assert!(
        lines[1].contains("person-3") && lines[2].contains("person-2"),
        "{list}"
    );
    assert_eq!(
        stdout(&run(&spool, &["--list", "-n", "0"])).lines().count(),
        4
    );
}

#[test]
fn a_missing_number_makes_a_session_incomplete() {
    let mut spool = Spool::new();
    let mut login = Login::new("alice", 11, "ca");
    spool.open(&login);
    let before = login.exec(4200, &["before"]);
    login.lose_one();
    let after = login.exit(4200, 0);
    spool.store(&login, &[before]);
    spool.store(&login, &[after]);
    spool.close(&login);
    let shown = stdout(&run(&spool, &["11"]));
    assert!(shown.contains("-- 1 event missing between"), "{shown}");
    assert!(shown.contains("INCOMPLETE: 1 event missing"), "{shown}");
    assert!(stdout(&run(&spool, &[])).contains("1 missing"));
}

#[test]
fn piped_output_has_no_colour_and_is_never_cut() {
    let mut spool = Spool::new();
    let long = "x".repeat(5_000);
    session(&mut spool, "alice", 11, "ca", &long);
    let shown = stdout(&run(&spool, &["11"]));
    assert!(shown.contains(&long) && !shown.contains('\u{1b}'));
}

#[test]
fn colour_can_be_forced() {
    let mut spool = Spool::new();
    session(&mut spool, "alice", 11, "ca", "x");
    let forced = vctl(spool.path(), &["11"])
        .env("CLICOLOR_FORCE", "1")
        .output()
        .unwrap();
    assert!(stdout(&forced).contains('\u{1b}'));
}

#[test]
fn json_has_serials_as_strings() {
    let mut spool = Spool::new();
    session(&mut spool, "alice", u64::MAX, "ca", "x");
    let json = stdout(&run(&spool, &["18446744073709551615", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["sessions"][0]["serial"], "18446744073709551615");
    assert_eq!(json["sessions"][0]["events"][0]["argv"][2], "x");
    assert_eq!(json["sessions"][0]["complete"], true);
    let list: serde_json::Value =
        serde_json::from_str(&stdout(&run(&spool, &["--list", "--json"]))).unwrap();
    assert_eq!(list["sessions"][0]["commands"], 1);
}

#[test]
fn a_closed_pipe_is_not_a_failure() {
    let mut spool = Spool::new();
    let mut login = Login::new("alice", 11, "ca");
    spool.open(&login);
    // More than the capacity of a pipe, so that the write must fail.
    let records: Vec<_> = (0..4_000)
        .map(|n| login.exec(4200 + n, &["true"]))
        .collect();
    spool.store(&login, &records);
    let mut child = vctl(spool.path(), &["11"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut start = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut start).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), "");
}

#[test]
fn each_failure_has_an_exit_code_and_a_hint() {
    let mut spool = Spool::new();
    session(&mut spool, "alice", 11, "ca", "x");
    let fails = |args: &[&str], code: i32, words: &[&str]| {
        let output = run(&spool, args);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{args:?}: {said}");
        }
        assert!(output.stdout.is_empty());
    };
    fails(&["99"], 66, &["certificate 99", "hint:", "--list"]);
    fails(&["99", "--follow"], 66, &["certificate 99"]);
    fails(&["0193f3a1-7c4e-7d61-9f0a-2b5c6d7e8f90"], 66, &["hint:"]);
    fails(&["0"], 2, &["serial"]);
    fails(&["11", "--list"], 2, &["cannot be used with"]);
    fails(&["11", "-n", "2"], 2, &["`--limit` is for lists"]);
    fails(&["11", "--tree", "--json"], 2, &["cannot be used with"]);

    let missing = vctl(&spool.path().join("none"), &[]).output().unwrap();
    assert_eq!(missing.status.code(), Some(66));
    assert!(stderr(&missing).contains("caused by:"));

    let central = Command::new(env!("CARGO_BIN_EXE_vctl"))
        .arg("session")
        .current_dir(spool.path())
        .env_remove("VAULT_TOKEN")
        .env("HOME", spool.path())
        .output()
        .unwrap();
    assert_eq!(central.status.code(), Some(77));
    assert!(stderr(&central).contains("--local"));
}

#[test]
fn an_empty_spool_is_not_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let output = vctl(dir.path(), &[]).output().unwrap();
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).contains("no session is recorded"));
}

#[test]
fn a_damaged_spool_is_read_as_far_as_it_goes() {
    let mut spool = Spool::new();
    session(&mut spool, "alice", 11, "ca", "whole");
    let mut bytes = std::fs::read(spool.segment()).unwrap();
    // The last byte of the events is in the `euid` of the exit, in a payload with a checksum.
    let events = bytes.windows(5).rposition(|word| word == b"whole").unwrap();
    bytes[events] ^= 1;
    std::fs::write(spool.segment(), bytes).unwrap();
    let shown = stdout(&run(&spool, &["11"]));
    assert!(
        shown.contains("2 events missing") && shown.contains("the spool is damaged"),
        "{shown}"
    );
    assert!(!shown.contains("whole"), "{shown}");
}

/// A running `vctl session --follow`.
struct Following {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Following {
    fn start(spool: &Spool, args: &[&str]) -> Self {
        let mut child = vctl(spool.path(), args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = std::sync::mpsc::sync_channel(1_000);
        std::thread::spawn(move || {
            for line in stdout.lines() {
                if tell.send(line.unwrap()).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Returns the lines up to one that contains `word`.
    fn until(&self, word: &str) -> Vec<String> {
        let mut seen = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Ok(line) = self.lines.recv_timeout(deadline - Instant::now()) {
            seen.push(line);
            if seen.last().unwrap().contains(word) {
                return seen;
            }
        }
        panic!("`{word}` never came: {seen:#?}");
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn follow_shows_each_event_once_and_ends_with_the_session() {
    let mut spool = Spool::new();
    let mut login = Login::new("alice", 11, "ca");
    spool.open(&login);
    let before = login.exec(4200, &["before"]);
    spool.store(&login, &[before]);

    let mut following = Following::start(&spool, &["11", "--follow"]);
    let mut seen = following.until("before");
    let during = login.exec(4201, &["during"]);
    spool.store(&login, &[during]);
    seen.extend(following.until("during"));
    let end = [login.exit(4201, 3), login.exit(4200, 0)];
    spool.store(&login, &end);
    spool.close(&login);
    seen.extend(following.until("complete: all 4 events"));

    assert!(following.child.wait().unwrap().success());
    let count = |words: &[&str]| {
        let all = |line: &&String| words.iter().all(|word| line.contains(word));
        seen.iter().filter(all).count()
    };
    assert_eq!(count(&["start", "before"]), 1, "{seen:#?}");
    assert_eq!(count(&["start", "during"]), 1, "{seen:#?}");
    assert_eq!(count(&["exit 3", "during"]), 1, "{seen:#?}");
}

#[test]
fn follow_without_a_serial_shows_new_sessions() {
    let mut spool = Spool::new();
    session(&mut spool, "before", 1, "ca", "long ago");
    let mut still_open = Login::new("carol", 2, "ca");
    spool.open(&still_open);
    let following = Following::start(&spool, &["--follow", "--json"]);
    let mut seen = following.until("carol");
    let event = still_open.exec(4300, &["works"]);
    spool.store(&still_open, &[event]);
    seen.extend(following.until("works"));
    session(&mut spool, "alice", 11, "ca", "hello");
    seen.extend(following.until("\"type\":\"closed\""));
    let types: Vec<String> = seen
        .iter()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| line["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        types,
        ["opened", "event", "opened", "event", "event", "closed"],
        "{seen:#?}"
    );
    assert!(
        !seen.iter().any(|line| line.contains("long ago")),
        "{seen:#?}"
    );
}
