//! A user wants to run a program on a host without a record: with a certificate that is too large for the hook, or with
//! a hook that does not run.

mod certificates;
mod hooks;

use std::fs;
use std::path::PathBuf;

use vctl_common::session::GapCause;
use vctl_tests::lab::{Certificate, Lab, Recorded, Subject};

/// Returns a certificate for the lab's user, with further options.
fn certificate(lab: &Lab, key_id: &str, serial: u64, options: &[&str]) -> Certificate {
    let principals = lab.users().join(",");
    let subject = Subject {
        key_id,
        serial,
        principals: &principals,
        options,
    };
    lab.certificate_of(0, subject).unwrap()
}

/// Returns a certificate with a text longer than the limit for an environment variable (128 KiB).
fn too_large(lab: &Lab, serial: u64) -> Certificate {
    let padding = "x".repeat(60_000);
    let options = [1, 2].map(|n| format!("extension:pad{n}@example.com={padding}"));
    certificate(
        lab,
        "mallory",
        serial,
        &options.each_ref().map(String::as_str),
    )
}

/// Returns the file that a login with this serial creates if it can run a program.
fn trace(lab: &Lab, serial: u64) -> PathBuf {
    lab.home().join(format!("in-{serial}"))
}

/// Returns the sessions that only the probe noticed.
fn without_stamp(lab: &Lab) -> Vec<Recorded> {
    let sessions = lab.sessions().unwrap().into_iter();
    let has_gap = |session: &Recorded| {
        let mut gaps = session.session.gaps.iter();
        gaps.any(|gap| gap.cause == GapCause::LoginWithoutStamp)
    };
    sessions.filter(has_gap).collect()
}

fn list(lab: &Lab) -> String {
    let output = lab.vctl(&["session", "--local", "--list"]).unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn log(lab: &Lab) -> String {
    fs::read_to_string(&lab.agent.log).unwrap()
}
