//! A user wants Vault to sign more than an ordinary login: an option that changes the behaviour of sshd, a certificate
//! that is too large for the hook, or a weak key.

use std::process::Command;

use serde_json::{Value, json};
use vctl_tests::centre::{Centre, Client};

struct Signer {
    person: Client,
    user: String,
    keys: tempfile::TempDir,
}

impl Signer {
    fn new(centre: &Centre, name: &str) -> Self {
        let role = centre
            .bao
            .admin()
            .unwrap()
            .get("ssh/roles/sre-core")
            .unwrap();
        let users = role["data"]["allowed_users"].as_str().unwrap().to_owned();
        Self {
            person: centre.person(name, &["vctl-user", "vctl-ssh"]).unwrap(),
            user: users.split(',').next().unwrap().to_owned(),
            keys: tempfile::tempdir().unwrap(),
        }
    }

    fn key(&self, kind: &str, bits: &str) -> String {
        let path = self.keys.path().join(format!("{kind}-{bits}"));
        let mut make = Command::new("ssh-keygen");
        make.args(["-q", "-N", "", "-t", kind, "-f"]).arg(&path);
        if !bits.is_empty() {
            make.args(["-b", bits]);
        }
        assert!(make.status().unwrap().success(), "{kind} {bits}");
        std::fs::read_to_string(path.with_extension("pub"))
            .unwrap_or_else(|_| std::fs::read_to_string(format!("{}.pub", path.display())).unwrap())
    }

    /// Returns `Ok` if Vault signed, or Vault's error.
    fn sign(&self, key: &str, options: &Value) -> Result<(), String> {
        let body = json!({
            "public_key": key, "valid_principals": self.user, "critical_options": options,
        });
        let reply = self.person.post("ssh/sign/sre-core", &body);
        reply.map(drop).map_err(|error| format!("{error:#}"))
    }
}

#[test]
fn the_role_signs_no_critical_option() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let signer = Signer::new(centre, "wider-options");
    let key = signer.key("ed25519", "");
    signer.sign(&key, &json!({})).unwrap();
    let many = vec!["127.0.0.0/8"; 8800].join(",");
    for options in [
        json!({"source-address": many}),
        json!({"source-address": "127.0.0.0/8"}),
        json!({"force-command": "id"}),
        json!({"verify-required": ""}),
        json!({"anything@example.com": "x"}),
    ] {
        let refused = signer.sign(&key, &options).unwrap_err();
        assert!(refused.contains("option"), "{refused}");
    }
}

#[test]
fn the_role_signs_ed25519_keys_only() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let signer = Signer::new(centre, "wider-keys");
    signer.sign(&signer.key("ed25519", ""), &json!({})).unwrap();
    for (kind, bits) in [
        ("rsa", "1024"),
        ("rsa", "4096"),
        ("ecdsa", "256"),
        ("ecdsa", "521"),
    ] {
        let refused = signer
            .sign(&signer.key(kind, bits), &json!({}))
            .unwrap_err();
        assert!(refused.contains("key"), "{kind} {bits}: {refused}");
    }
}

#[test]
fn the_role_of_the_next_authority_is_as_narrow() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let admin = centre.bao.admin().unwrap();
    let of = |mount: &str| {
        let role = admin.get(&format!("{mount}/roles/sre-core")).unwrap();
        let keys = ["allowed_critical_options", "allowed_user_key_lengths"];
        keys.map(|key| role["data"][key].clone())
    };
    assert_eq!(of("ssh"), of("ssh-next"));
    assert_eq!(of("ssh")[0], "none-allowed");
}
