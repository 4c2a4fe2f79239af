//! A user with the right to get certificates asks for wider ones.

use std::process::Command;

use serde_json::{Value, json};
use vctl_tests::centre::{Centre, Client};

const USER: &str = "root";

fn public_key() -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    std::fs::read_to_string(path.with_extension("pub")).unwrap()
}

fn asked(key: &str, change: Value) -> Value {
    let mut body = json!({"public_key": key, "valid_principals": USER});
    let Value::Object(change) = change else {
        panic!("{change} is no object");
    };
    body.as_object_mut().unwrap().extend(change);
    body
}

fn assert_refused(client: &Client, path: &str, body: &Value) {
    let reply = client.call("POST", path, Some(body)).unwrap();
    assert!((400..500).contains(&reply.status), "{path}: {body}");
}

#[test]
fn no_certificate_is_wider_than_its_role() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let key = public_key();
    let alice = centre
        .person("held-alice", &["vctl-user", "vctl-ssh"])
        .unwrap();
    for mount in ["ssh", "ssh-next"] {
        let sign = format!("{mount}/sign/sre-core");
        for change in [
            json!({"valid_principals": ""}),
            json!({"valid_principals": "*"}),
            json!({"valid_principals": "nobody"}),
            json!({"cert_type": "host"}),
            json!({"key_id": "userpass-held-bob"}),
            json!({"extensions": {"permit-X11-forwarding": ""}}),
            json!({"extensions": {"permit-user-rc": ""}}),
            json!({"extensions": {"vctl@example.org": ""}}),
        ] {
            assert_refused(&alice, &sign, &asked(&key, change));
        }
        let host = json!({"cert_type": "host", "valid_principals": "web-1"});
        let host = asked(&key, host);
        assert_refused(&alice, &format!("{mount}/sign/vctl-host"), &host);
        let issue = format!("{mount}/issue/sre-core");
        let body = json!({"key_type": "ed25519", "valid_principals": USER});
        assert_refused(&alice, &issue, &body);
        let admin = centre.with_policies(&["vctl-admin"]).unwrap();
        assert_refused(&admin, &sign, &asked(&key, json!({})));
        let user = asked(&key, json!({"cert_type": "user"}));
        assert_refused(&admin, &format!("{mount}/sign/vctl-host"), &user);
    }
    // Vault signs a request within the limits of the role, so the refusals above come from the changes.
    let granted = alice.post("ssh/sign/sre-core", &asked(&key, json!({})));
    granted.unwrap();
    let long = asked(&key, json!({"ttl": "100h"}));
    let reply = alice
        .call("POST", "ssh/sign/sre-core", Some(&long))
        .unwrap();
    assert!((400..500).contains(&reply.status), "a certificate of 100 h");
}
