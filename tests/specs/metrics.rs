//! The agent's own numbers, as files and as metrics.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use vctl_tests::lab::{Lab, Options, skip};

use vctl_tests::fixture::await_that;

#[test]
fn metrics_count_sessions_across_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("metrics.sock");
    let file = directory.path().join("vctl.prom");
    let options = Options {
        agent: vec![
            ("metrics_listen", format!("unix:{}", socket.display())),
            ("metrics_textfile", file.display().to_string()),
        ],
        ..Options::default()
    };
    let Some(mut lab) = Lab::or_skip(&options) else {
        return;
    };
    let who = lab.certificate("alice", 1).unwrap();
    lab.ssh_ok(&who, "true; true").unwrap();
    lab.whole_session(&who).unwrap();
    let text = scrape(&socket);
    assert_eq!(value(&text, "vctl_logins_total{stamp=\"in_time\"}"), 1);
    assert_eq!(value(&text, "vctl_up"), 1);
    let captured = value(&text, "vctl_events_captured_total");
    assert!(captured > 0, "{text}");
    assert_eq!(value(&text, "vctl_events_stored_total"), captured);
    assert_eq!(value(&text, "vctl_events_dropped_total"), 0);
    lab.agent.stop().unwrap();
    lab.agent.start().unwrap();
    let text = scrape(&socket);
    assert_eq!(value(&text, "vctl_logins_total{stamp=\"in_time\"}"), 1);
    assert!(value(&text, "vctl_events_captured_total") >= captured);
    await_that("the agent has written the file", || {
        std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with("# EOF\n"))
    });
    assert_parser_takes(&text);
}

fn scrape(socket: &Path) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    body.to_owned()
}

fn value(text: &str, series: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}"))
        .trim()
        .parse()
        .unwrap()
}

/// Reads the text with the parser of Prometheus' own client for Python, from the distribution.
fn assert_parser_takes(text: &str) {
    const READ: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read
print(sorted(family.name for family in read(sys.stdin.read())))";
    let python =
        std::env::var("VCTL_TEST_PYTHON").unwrap_or_else(|_| "/usr/bin/python3".to_owned());
    let there = Command::new(&python)
        .args(["-c", "import prometheus_client.openmetrics.parser"])
        .stderr(Stdio::null())
        .status();
    if !there.is_ok_and(|status| status.success()) {
        skip("`prometheus_client` of Python is not installed: the metrics were not parsed");
        return;
    }
    let mut child = Command::new(python)
        .args(["-c", READ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{text}");
    let families = String::from_utf8(output.stdout).unwrap();
    assert!(families.contains("'vctl_events_lost'"), "{families}");
}
