//! Scopes of grants: a certificate of one scope is refused everywhere else, also without the client.

mod grants;
mod hosts;
mod past;
mod setup;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::{Value, json};
use vctl_tests::centre::{Centre, Client};

use crate::ssh_ca::trust_ca::shared;

/// A centre whose Vault enforces the scopes of a file.
struct Enforced {
    centre: &'static Centre,
    directory: tempfile::TempDir,
    setup: Mutex<()>,
}

impl Enforced {
    fn file(&self) -> PathBuf {
        self.directory.path().join("scopes.json")
    }

    /// Waits until no other spec runs setup.sh with the scope file, which removes what another spec has added.
    fn alone(&self) -> MutexGuard<'_, ()> {
        self.setup.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the account that machines have.
    fn account(&self) -> String {
        format!("{}-u", self.centre.id())
    }

    fn role(&self, path: &str) -> Value {
        let admin = self.centre.bao.admin().unwrap();
        admin.get(path).unwrap()["data"].take()
    }
}

/// Returns the centre of these specs, after setup.sh has applied the scope file.
fn enforced() -> Option<&'static Enforced> {
    static ENFORCED: OnceLock<Option<Enforced>> = OnceLock::new();
    let start = || {
        let enforced = Enforced {
            centre: shared()?,
            directory: tempfile::tempdir().unwrap(),
            setup: Mutex::new(()),
        };
        let account = enforced.account();
        let scopes = json!({
            "dc=scope-a": {"users": [account, "root"]},
            (format!("dc=scope-a,user={account}")): {},
            "dc=scope-b": {"users": [account], "ttl_s": 900, "max_ttl_s": 3600},
            "dc=scope-b,host=scope-*": {"users": [account]},
        });
        fs::write(enforced.file(), scopes.to_string()).unwrap();
        applied(&enforced, &enforced.file());
        Some(enforced)
    };
    ENFORCED.get_or_init(start).as_ref()
}

/// Runs setup.sh with a scope file, and returns its output.
fn applied(enforced: &Enforced, file: &Path) -> String {
    let output = enforced
        .centre
        .setup()
        .env("SCOPES", file)
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors, "");
    String::from_utf8(output.stdout).unwrap()
}

/// A key with a certificate for it.
struct Signed {
    directory: tempfile::TempDir,
}

impl Signed {
    /// Asks a role to sign for these principals. Returns the status of the answer if Vault refuses.
    fn by(client: &Client, role: &str, principals: &str) -> Result<Self, u16> {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key)
            .status();
        assert!(made.unwrap().success());
        let public = fs::read_to_string(directory.path().join("key.pub")).unwrap();
        let body = json!({"public_key": public, "valid_principals": principals});
        let path = format!("ssh/sign/{role}");
        let answer = client.call("POST", &path, Some(&body)).unwrap();
        if answer.status != 200 {
            return Err(answer.status);
        }
        let certificate = answer.body["data"]["signed_key"].as_str().unwrap();
        fs::write(directory.path().join("key-cert.pub"), certificate).unwrap();
        Ok(Self { directory })
    }

    /// Returns whether OpenSSH logs in with it.
    fn logs_in(&self, port: u16, user: &str) -> bool {
        let output = Command::new("ssh")
            .args(["-F", "/dev/null", "-o", "BatchMode=yes"])
            .args(["-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"])
            .args(["-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null", "-i"])
            .arg(self.directory.path().join("key"))
            .args(["-p", &port.to_string()])
            .args([&format!("{user}@127.0.0.1"), "true"])
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() || errors.contains("Permission denied"),
            "{errors}"
        );
        output.status.success()
    }
}
