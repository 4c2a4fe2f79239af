//! `vctl audit verify`: the audit log of a real OpenBao against the rows and the sessions of the centre.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use vctl_common::time::wall_now;
use vctl_tests::centre::Client;

use super::{HOST, Reading, access, ask_for, certificate, unique};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
/// Serials that Vault did not sign.
const NOT_SIGNED: [u64; 2] = [7_700_991, 7_700_992];

/// Signs a certificate without vctl, and returns its serial.
fn sign(client: &Client, path: &str) -> u64 {
    let request = json!({"public_key": KEY, "valid_principals": "root"});
    let signed = client.post(path, &request).unwrap();
    let serial = signed["data"]["serial_number"].as_str().unwrap();
    u64::from_str_radix(serial, 16).unwrap()
}

fn seconds_now() -> u64 {
    let now = wall_now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_secs()
}

/// The time now, for `--since`.
fn now() -> String {
    let now = Command::new("date").args(["-u", "+%FT%T.%NZ"]).output();
    String::from_utf8(now.unwrap().stdout)
        .unwrap()
        .trim()
        .to_owned()
}

impl Reading {
    /// Opens and closes a session with a certificate that was signed now.
    fn uses(&mut self, serial: u64, ca: &str, key_id: &str) {
        let mut certificate = certificate(key_id, serial, ca);
        certificate.valid_after = seconds_now() - 30;
        let opened = self.log_in(Some(certificate));
        self.log_out(opened.id, 0);
        self.wait_for(opened.id, 0);
    }

    fn verify(&self, files: &[&Path], args: &[&str]) -> Output {
        let mut command = self.command(&["audit", "verify", "--margin", "0s"]);
        command.arg("--audit-log").args(files).args(args);
        command.output().unwrap()
    }

    /// Compares these files, and returns the document.
    fn compared(&self, files: &[&Path], since: &str) -> Value {
        let output = self.verify(files, &["--since", since, "-o", "json"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{stderr}"))
    }
}

/// Returns the kinds of exceptions of each of these serials. Other specs share the log.
fn kinds(document: &Value, serials: &[u64]) -> BTreeMap<u64, Vec<String>> {
    let mut kinds: BTreeMap<u64, Vec<String>> =
        serials.iter().map(|&serial| (serial, vec![])).collect();
    for exception in document["exceptions"].as_array().unwrap() {
        let serial = exception["serial"].as_str().unwrap_or("0");
        if let Some(kinds) = kinds.get_mut(&serial.parse().unwrap()) {
            kinds.push(exception["kind"].as_str().unwrap().to_owned());
            kinds.sort();
        }
    }
    kinds
}

#[test]
fn each_certificate_without_one_of_its_records_is_listed() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    let (centre, since) = (reading.centre, now());
    let ca = unique('v');
    reading.our_ca(&ca);
    reading.ship();
    let policies = ["vctl-user", "vctl-ssh"];
    let vera = centre.person("vera-v", &policies).unwrap();
    let other = centre.person("other-v", &policies).unwrap();
    let [whole, jump, past_vctl, unused, taken, failed] =
        [(); 6].map(|()| sign(&vera, "ssh/sign/sre-core"));
    let host = centre.bao.admin().unwrap();
    let request = json!({"public_key": KEY, "cert_type": "host", "valid_principals": "web-1"});
    let of_host = host.post("ssh/sign/vctl-host", &request).unwrap();
    let of_host = of_host["data"]["serial_number"].as_str().unwrap();
    let of_host = u64::from_str_radix(of_host, 16).unwrap();
    let [no_signature, invented] = NOT_SIGNED;

    let mut through = access("behind", whole, &ca);
    through["hops"] =
        json!([{"hostname": HOST, "ca_fingerprint": ca, "cert_serial": jump.to_string()}]);
    ask_for(centre, &vera, "vera-v", &through);
    // The certificate was used for two accesses.
    ask_for(centre, &vera, "vera-v", &access(HOST, whole, &ca));
    ask_for(centre, &vera, "vera-v", &access(HOST, no_signature, &ca));
    ask_for(centre, &other, "other-v", &access(HOST, taken, &ca));
    let mut attempt = access("down-v", 0, &ca);
    attempt["cert_serial"] = Value::Null;
    ask_for(centre, &vera, "vera-v", &attempt);
    let hidden = centre.person("hidden-v", &policies).unwrap();
    let request = json!({"public_key": KEY, "valid_principals": "root"});
    hidden.post_wrapped("ssh/sign/sre-core", &request).unwrap();
    for serial in [whole, jump, past_vctl, invented] {
        reading.uses(serial, &ca, "userpass-vera-v");
    }
    reading.uses(past_vctl, &unique('w'), "userpass-vera-v");

    let log = centre.bao.audit_log();
    let document = reading.compared(&[&log], &since);
    let all = [
        whole,
        jump,
        past_vctl,
        unused,
        taken,
        failed,
        of_host,
        no_signature,
        invented,
    ];
    let found = kinds(&document, &all);
    let expected: [(u64, &[&str]); 9] = [
        (whole, &[]),
        (jump, &[]),
        (
            past_vctl,
            &["session_without_access", "signature_without_access"],
        ),
        (unused, &["signature_without_access"]),
        (taken, &["identity_differs"]),
        (failed, &["signature_without_access"]),
        (of_host, &[]),
        (no_signature, &["access_without_signature"]),
        (
            invented,
            &["session_without_access", "session_without_signature"],
        ),
    ];
    for (serial, kinds) in expected {
        assert_eq!(found[&serial], kinds, "{serial}: {document:#}");
    }
    assert_eq!(document["matches"], false);
    let exceptions = document["exceptions"].as_array().unwrap();
    let failed = exceptions
        .iter()
        .find(|exception| exception["serial"] == *failed.to_string());
    assert_eq!(failed.unwrap()["failed_attempt"]["host"], "down-v");
    assert_eq!(failed.unwrap()["person"], "userpass-vera-v");
    let without_serial = exceptions
        .iter()
        .filter(|exception| exception["person"] == "userpass-hidden-v");
    let kinds: Vec<&Value> = without_serial.map(|exception| &exception["kind"]).collect();
    assert_eq!(kinds, ["signature_without_serial"]);
    let table = reading.verify(&[&log], &["--since", &since]);
    assert_eq!(table.status.code(), Some(1));
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("signed for userpass-vera-v from 127.0.0.1 with ssh/sre-core"));
}

/// The lines of the log since a time, as a new file, and a row for each of two certificates.
struct Log {
    directory: tempfile::TempDir,
    text: String,
    serials: [u64; 2],
    since: String,
}

impl Log {
    /// Signs one certificate with a row and one without, with other entries between and after them.
    fn new(reading: &Reading, name: &str, ca: &str) -> Self {
        let (centre, since) = (reading.centre, now());
        reading.our_ca(ca);
        let person = centre.person(name, &["vctl-user", "vctl-ssh"]).unwrap();
        let [whole, unused] = [(); 2].map(|()| {
            let serial = sign(&person, "ssh/sign/sre-core");
            centre.bao.admin().unwrap().get("sys/mounts").unwrap();
            serial
        });
        ask_for(centre, &person, name, &access(HOST, whole, ca));
        // The row is older than the last entry.
        centre.bao.admin().unwrap().get("sys/mounts").unwrap();
        let text = fs::read_to_string(centre.bao.audit_log()).unwrap();
        let new = |line: &&str| line.split('"').nth(3).is_some_and(|time| time >= &*since);
        let mut lines: Vec<&str> = text.lines().filter(new).collect();
        lines.push("");
        Self {
            directory: tempfile::tempdir().unwrap(),
            text: lines.join("\n"),
            serials: [whole, unused],
            since,
        }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Returns the two halves of the log, cut between two lines.
    fn halves(&self) -> (&str, &str) {
        let cut = self.text[..self.text.len() / 2].rfind('\n').unwrap() + 1;
        self.text.split_at(cut)
    }

    fn assert_one_exception(&self, document: &Value) {
        let found = kinds(document, &self.serials);
        let [whole, unused] = self.serials;
        assert!(found[&whole].is_empty(), "{document:#}");
        assert_eq!(found[&unused], ["signature_without_access"]);
    }
}

fn gzip(path: &Path) -> PathBuf {
    let done = Command::new("gzip").arg("-k").arg(path).status().unwrap();
    assert!(done.success());
    PathBuf::from(format!("{}.gz", path.display()))
}

#[test]
fn rotated_and_compressed_logs_give_the_same_result() {
    let Some(reading) = Reading::new() else {
        return;
    };
    let log = Log::new(&reading, "rotated-v", &unique('x'));
    let (old, new) = log.halves();
    let whole = log.file("audit.log", log.text.as_bytes());
    let old = gzip(&log.file("audit.log.1", old.as_bytes()));
    let new = log.file("audit.log.0", new.as_bytes());
    for files in [
        &[&*whole][..],
        &[&old, &new],
        &[&new, &old],
        &[&whole, &old],
    ] {
        let document = reading.compared(files, &log.since);
        log.assert_one_exception(&document);
        assert_eq!(document["audit_log"]["unreadable_lines"], 0);
    }
}

#[test]
fn a_truncated_log_is_named_and_read_to_its_cut() {
    let Some(reading) = Reading::new() else {
        return;
    };
    let log = Log::new(&reading, "truncated-v", &unique('y'));
    let last = log.file("last.log", &log.text.as_bytes()[..log.text.len() - 9]);
    let document = reading.compared(&[&last], &log.since);
    log.assert_one_exception(&document);
    assert_eq!(document["audit_log"]["last_line_incomplete"], true);
    assert_eq!(document["audit_log"]["unreadable_lines"], 0);

    // The line of a signature is damaged.
    let damaged = log
        .text
        .replacen("\"type\":\"response\"", "\"type\":\"resp", 1);
    let damaged = log.file("damaged.log", damaged.as_bytes());
    let output = reading.verify(&[&damaged], &["--since", &log.since]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("the line is not JSON, or is damaged"),
        "{said}"
    );
    assert!(said.contains("and 1 unreadable record"), "{said}");

    let packed = fs::read(gzip(&log.file("cut.log", log.text.as_bytes()))).unwrap();
    let cut = log.file("cut.gz", &packed[..packed.len() - 12]);
    let output = reading.verify(&[&cut], &["--since", &log.since]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("the file cannot be read any further"),
        "{said}"
    );
    assert!(!output.stdout.is_empty(), "{said}");
}

#[test]
fn a_log_of_another_kind_is_refused_with_its_reason() {
    let Some(reading) = Reading::new() else {
        return;
    };
    let log = Log::new(&reading, "refused-v", &unique('z'));
    let text = log.file("sshd.log", b"Nov 29 03:05:54 web-1 sshd[1]: hello\n");
    let zstd = log.file("audit.log.zst", &[0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0]);
    let empty = log.file("empty.log", b"");
    let missing = log.directory.path().join("missing.log");
    let cases: [(&Path, i32, &str, &str); 4] = [
        (
            &text,
            2,
            "is not an audit log of Vault",
            "`file` audit device",
        ),
        (&zstd, 2, "is compressed with zstd", "zstd -dc"),
        (&empty, 1, "the audit log is empty", "add the file before"),
        (
            &missing,
            66,
            "cannot read the audit log",
            "vault audit list -detailed",
        ),
    ];
    for (path, code, message, hint) in cases {
        let output = reading.verify(&[path], &[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        let on_one_line = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            on_one_line.contains(message) && on_one_line.contains(hint),
            "{said}"
        );
        assert_eq!(output.stdout, b"", "{said}");
    }
    let times = ["--since", "2026-11-29", "--until", "2026-11-28"];
    let output = reading.verify(&[&missing], &times);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("later than `--until`"), "{said}");
}

#[test]
fn hashed_serials_are_refused_with_the_command_that_tunes() {
    let Some(reading) = Reading::new() else {
        return;
    };
    let admin = reading.centre.bao.admin().unwrap();
    let since = now();
    admin
        .post("sys/mounts/hashed-v", &json!({"type": "ssh"}))
        .unwrap();
    let ca = json!({"generate_signing_key": true, "key_type": "ed25519"});
    admin.post("hashed-v/config/ca", &ca).unwrap();
    let role = json!({"key_type": "ca", "allow_user_certificates": true, "allowed_users": "*"});
    admin.post("hashed-v/roles/r", &role).unwrap();
    sign(&admin, "hashed-v/sign/r");
    let log = reading.centre.bao.audit_log();
    let verify = |args: &[&str]| {
        let mut command = reading.command(&["audit", "verify", "--margin", "0s", "-o", "json"]);
        command.arg("--audit-log").arg(&log).args(args);
        let output = command.env("VCTL_SSH_MOUNT", "hashed-v").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        (output.status.code(), said, output.stdout)
    };
    let (code, said, _) = verify(&["--since", &since]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("has only hashes of the serials of 1 certificate"));
    assert!(
        said.contains("vault secrets tune -audit-non-hmac-response-keys=serial_number hashed-v`"),
        "{said}"
    );

    let tune = json!({"audit_non_hmac_response_keys": ["serial_number"]});
    admin.post("sys/mounts/hashed-v/tune", &tune).unwrap();
    let tuned = now();
    let serial = sign(&admin, "hashed-v/sign/r");
    let (code, said, _) = verify(&["--since", &since]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("with `--since 2"), "{said}");
    let (_, said, stdout) = verify(&["--since", &tuned]);
    let document: Value = serde_json::from_slice(&stdout).expect(&said);
    assert_eq!(
        kinds(&document, &[serial])[&serial],
        ["signature_without_access"]
    );
}
