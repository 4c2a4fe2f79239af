//! The systemd units: systemd accepts them, and they are at most as exposed as documented.

use std::fs;
use std::path::Path;
use std::process::Command;

use vctl_tests::lab::Programs;

/// Each unit with the score of `systemd-analyze security`, from 0 (confined) to 10, that deploy/README.md states.
const UNITS: [(&str, &str); 6] = [
    ("audit/systemd/vctl-collect.service", "2.6"),
    ("node/systemd/vctl-node-agent.service", "2.2"),
    ("audit/systemd/vctl-enroll.service", "5.7"),
    ("audit/systemd/vctl-prune.service", "1.6"),
    ("audit/systemd/vctl-export@.service", "1.6"),
    ("nats/systemd/vctl-ingest.service", "2.0"),
];

#[test]
fn a_collector_that_ships_is_as_exposed_as_documented() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let documented = fs::read_to_string(deploy.join("README.md")).unwrap();
    assert!(documented.contains("With `centre.conf` the collector has 3.6"));
    let work = tempfile::tempdir().unwrap();
    let unit = work.path().join("vctl-collect.service");
    let systemd = deploy.join("audit/systemd");
    fs::copy(systemd.join("vctl-collect.service"), &unit).unwrap();
    let drop_in = work.path().join("vctl-collect.service.d");
    fs::create_dir(&drop_in).unwrap();
    let centre = systemd.join("vctl-collect.service.d/centre.conf");
    fs::copy(centre, drop_in.join("centre.conf")).unwrap();
    for (threshold, is_within) in [("--threshold=36", true), ("--threshold=35", false)] {
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(["security", "--offline=yes", threshold]);
        let output = analyze.arg(&unit).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.success(), is_within, "{text}");
    }
}

#[test]
fn units_are_valid_and_no_more_exposed_than_documented() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let documented = fs::read_to_string(deploy.join("README.md")).unwrap();
    // A copy without drop-ins, with programs that exist here.
    let work = tempfile::tempdir().unwrap();
    let agent = Programs::find().unwrap().agent.display().to_string();
    for (path, most) in UNITS {
        let text = fs::read_to_string(deploy.join(path)).unwrap();
        let text = text.replace("/usr/sbin/vctl-agent", &agent);
        let text = text.replace("/usr/bin/vctl ", "/bin/true ");
        let name = Path::new(path).file_name().unwrap().to_str().unwrap();
        assert!(
            documented.contains(&format!("| `{name}` | {most} |")),
            "{name}"
        );
        let copy = work.path().join(name);
        fs::write(&copy, text).unwrap();
        let analyze = |arguments: &[&str]| {
            let mut analyze = Command::new("systemd-analyze");
            let output = analyze.args(arguments).arg(&copy).output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{name}: {errors}");
            (String::from_utf8(output.stdout).unwrap(), errors)
        };
        // Unknown settings and values are warnings.
        assert_eq!(analyze(&["verify", "--man=no"]).1, "");
        let tenths = most.replace('.', "");
        analyze(&[
            "security",
            "--offline=yes",
            &format!("--threshold={tenths}"),
        ]);
    }
}
