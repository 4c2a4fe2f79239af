//! The user of a shared account makes sshd accept a CA of this user. The certificates of this CA contain the name of
//! another user.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use vctl_tests::centre::Centre;
use vctl_tests::fixture::await_that;
use vctl_tests::lab::{Certificate, Lab, Options, Recorded};

use super::reader::{Auditor, keygen, line};

/// Runs `vctl session` and returns its output.
type Shows<'a> = &'a dyn Fn(&[&str]) -> String;

/// Makes a certificate of the attacker's CA, and makes the account accept that CA.
fn pose(lab: &Lab, dir: &Path, key_id: &str, serial: u64) -> Certificate {
    let ca = dir.join("own-ca");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    if !ca.exists() {
        keygen(&["-q", "-t", "ed25519", "-N", "", "-f", &text(&ca)]);
        let public = fs::read_to_string(ca.with_extension("pub")).unwrap();
        let authorized = lab.root().join("authorized_keys").join(lab.user());
        fs::write(authorized, format!("cert-authority {public}")).unwrap();
    }
    let key = dir.join(format!("key-{serial}"));
    keygen(&["-q", "-t", "ed25519", "-N", "", "-f", &text(&key)]);
    let (ca, public) = (text(&ca), format!("{}.pub", key.display()));
    let number = serial.to_string();
    keygen(&[
        "-q",
        "-s",
        &ca,
        "-I",
        key_id,
        "-n",
        lab.user(),
        "-z",
        &number,
        &public,
    ]);
    Certificate {
        key_id: key_id.to_owned(),
        serial,
        certificate: Some(format!("{}-cert.pub", key.display()).into()),
        key,
    }
}

fn log_in(lab: &Lab, who: &Certificate) -> Recorded {
    lab.ssh_ok(who, "/bin/true needle").unwrap();
    lab.closed_sessions(who, 1).unwrap().remove(0)
}

#[test]
fn name_from_a_foreign_ca_is_marked_everywhere() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let host = centre.enroll("pose-1").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        agent: centre.agent_keys(&host, dir.path()).unwrap(),
        trusted: vec![centre.ssh_authority().unwrap()],
        ..Options::default()
    };
    let Some(lab) = Lab::or_skip(&options) else {
        return;
    };
    // Vault signs for the accounts of its role, and this account is not in the role yet.
    let admin = centre.bao.admin().unwrap();
    let mut role = admin.get("ssh/roles/sre-core").unwrap()["data"].take();
    role["allowed_users"] = json!(lab.user());
    admin.post("ssh/roles/pose-1", &role).unwrap();
    let policy = json!({"policy": "path \"ssh/sign/pose-1\" { capabilities = [\"update\"] }"});
    admin.post("sys/policies/acl/pose-1", &policy).unwrap();
    let bob = centre.person("bob-po", &["pose-1"]).unwrap();
    let real = lab
        .certificate_by("userpass-bob-po", |public_key| {
            let request = json!({
                "public_key": public_key, "valid_principals": lab.user(), "cert_type": "user",
            });
            let answer = bob.post("ssh/sign/pose-1", &request)?;
            let serial = answer["data"]["serial_number"].as_str().unwrap();
            let signed = answer["data"]["signed_key"].as_str().unwrap();
            Ok((signed.to_owned(), u64::from_str_radix(serial, 16)?))
        })
        .unwrap();
    let posers = [("bob-po", 9001), ("userpass-bob-po", 9002)]
        .map(|(key_id, serial)| pose(&lab, dir.path(), key_id, serial));
    let id = |session: &Recorded| session.session.opened.id.to_string();
    let real = id(&log_in(&lab, &real));
    let posed = posers.map(|who| id(&log_in(&lab, &who)));
    let arrived = "select count(*) from vctl.audit_session s join vctl.audit_host h on h.id = s.host_id \
                   where h.hostname = 'pose-1' and s.closed is not null";
    await_that("three sessions are at the centre", || {
        centre.ask(arrived).unwrap() == "3"
    });

    let auditor = Auditor::of(centre);
    let local = |args: &[&str]| {
        let output = lab.vctl(&[&["session", "--local"], args].concat()).unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let central = |args: &[&str]| auditor.shows(&[&["session"], args].concat());
    let sources: [(Shows, _, _); 2] = [
        (&central, "bob-po", ["?bob-po", "?userpass-bob-po"]),
        (&local, "userpass-bob-po", ["?bob-po", "?userpass-bob-po"]),
    ];
    for (shows, real_name, names) in sources {
        let list = shows(&["-n", "0"]);
        let found = line(&list, &real);
        assert!(found.contains(&format!("  {real_name}  ")), "{found}");
        let csv = shows(&["-n", "0", "-o", "csv"]);
        assert!(line(&csv, &real).contains(",true,verified,"), "{csv}");
        let by_name = shows(&["--user", "bob-po", "-n", "0"]);
        let grep = shows(&["--grep", "needle", "-n", "0"]);
        for (id, name) in posed.iter().zip(names) {
            for shown in [&list, &by_name, &grep] {
                let found = line(shown, id);
                assert!(found.contains(&format!("  {name}  ")), "{found}");
            }
            assert!(line(&csv, id).contains(",false,unknown_ca,"), "{csv}");
            for form in [&[][..], &["--tree"], &["--full"], &["--follow"]] {
                let page = shows(&[&[&**id], form].concat());
                assert!(page.contains(&format!("who       {name}\n")), "{page}");
                assert!(page.contains("signed    by a CA that is no"), "{page}");
            }
            let file = dir.path().join("page.html");
            shows(&[id, "--html", file.to_str().unwrap(), "--force"]);
            let html = fs::read_to_string(file).unwrap();
            assert!(html.contains(&format!("{name} on ")), "{html}");
            let json: Value = serde_json::from_str(&shows(&[id, "-o", "json"])).unwrap();
            let session = &json["sessions"][0];
            assert_eq!(session["verified"], false, "{session:#}");
            assert_eq!(session["verified_by"], Value::Null);
        }
    }
    let unasked = auditor.shows(&["audit", "--without-access", "--user", "bob-po"]);
    for id in &posed {
        let found = line(&unasked, id);
        assert!(found.contains("contradicted (unknown ca)"), "{found}");
    }
}

#[test]
fn unreadable_trust_leaves_no_name_proven() {
    let Some(lab) = vctl_tests::fixture::lab() else {
        return;
    };
    let alice = lab.certificate("alice", 11).unwrap();
    let id = log_in(&lab, &alice).session.opened.id.to_string();
    let shown = |keys: &str| {
        let mut command = lab.vctl_command(&["session", "--local", &id]);
        let output = command.env("VCTL_TRUSTED_CA_KEYS", keys).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let trusted = lab.root().join("trusted_ca");
    let page = shown(trusted.to_str().unwrap());
    assert!(
        page.contains("who       alice\n") && page.contains("verified"),
        "{page}"
    );
    let page = shown("/nonexistent/keys");
    assert!(page.contains("who       ?alice\n"), "{page}");
    assert!(
        page.contains("the CAs that this host trusts could not be read"),
        "{page}"
    );
    // A file without a trusted CA is different from an unreadable file.
    let page = shown("/dev/null");
    assert!(page.contains("who       ?alice\n"), "{page}");
    assert!(page.contains("is not in TrustedUserCAKeys"), "{page}");
}
