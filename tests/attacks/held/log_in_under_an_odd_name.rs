//! A user has a certificate with a text that should break its readers.

use vctl_common::session::KEY_ID_MAX;
use vctl_tests::fixture::lab;
use vctl_tests::lab::Subject;

#[test]
fn an_odd_certificate_is_recorded_as_it_is_and_shown_escaped() {
    let Some(lab) = lab() else { return };
    let user = lab.user().to_owned();
    let many: Vec<_> = (0..255).map(|number| format!("p{number}")).collect();
    let many = format!("{user},{}", many.join(","));
    let long = "k".repeat(30_000);
    let certificates = [
        ("two\nlines", 1, &user),
        ("\u{1b}[2J\u{202e}", 2, &user),
        ("{\"key_id\": \"userpass-bob\"}", 3, &user),
        ("bob (serial 1001) CA SHA256:x", 4, &user),
        ("zero", 0, &user),
        ("greatest", u64::MAX, &user),
        ("many", 5, &many),
        (&long, 6, &user),
    ];
    for (before, (key_id, serial, principals)) in certificates.into_iter().enumerate() {
        let subject = Subject {
            key_id,
            serial,
            principals,
            options: &[],
        };
        let who = lab.certificate_of(0, subject).unwrap();
        lab.ssh_ok(&who, "true").unwrap();
        let recorded = lab.sessions().unwrap();
        assert_eq!(recorded.len(), before + 1, "{key_id:.40} (serial {serial})");
        let auth = &recorded[0].session.opened.auth;
        let recorded = &auth.certificate.as_ref().unwrap().key_id;
        if key_id.len() <= KEY_ID_MAX {
            assert_eq!(recorded, key_id);
        } else {
            assert_eq!(recorded, &key_id[..KEY_ID_MAX]);
            let cut = format!("key id of {} bytes", key_id.len());
            assert!(auth.problem.as_ref().unwrap().contains(&cut), "{auth:?}");
        }
    }
    for arguments in [&["--list"][..], &["4"], &["6", "--json"]] {
        let output = lab
            .vctl(&[&["session", "--local"], arguments].concat())
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(obeyed), "{arguments:?}");
    }
}
