//! One SSH CA replaces another, on a real OpenBao or Vault and real hosts, while users log in.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::json;
use vctl_tests::centre::{Centre, Machine, Options};
use vctl_tests::lab::{PATIENCE, eventually};

use crate::ssh_ca::trust_ca::Administrator;

/// A thread that logs in to a host again and again, until the spec stops it.
struct Logins {
    done: AtomicUsize,
    stop: AtomicBool,
}

impl Logins {
    fn go_on(&self, user: &Administrator<'_>, hosts: &[&str]) {
        while !self.stop.load(Ordering::Relaxed) {
            for host in hosts {
                let said = user.run(&["ssh", "-q", "--server", host, "--", "true"]);
                // The thread that joins this thread catches the panic.
                assert_eq!(said.code, 0, "{host}: {said:?}");
            }
            self.done.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until some more logins began and ended.
    fn some_more(&self) {
        let before = self.done.load(Ordering::Relaxed);
        let more = || Ok(self.done.load(Ordering::Relaxed) > before + 1);
        assert!(eventually(PATIENCE, more).unwrap(), "the logins stopped");
    }
}

/// A guard that ends the logins, also if the rotation thread panics.
struct StopAtEnd<'a>(&'a Logins);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_ca_takes_over_while_people_log_in_and_no_host_is_forgotten() {
    let options = Options {
        host: true,
        ..Options::default()
    };
    let Some(centre) = Centre::or_skip(&options) else {
        return;
    };
    let admin = Administrator::new(&centre, "rotator");
    let user = Administrator::with(&centre, "worker", &["vctl-user", "vctl-ssh"]);
    let machines = ["rot-a", "rot-b", "rot-c"].map(|name| (name, admin.machine(name)));
    for (name, machine) in &machines {
        user.remembers(&format!("{name} {}\n", machine.public_key()));
    }
    for name in ["rot-a", "rot-b"] {
        let said = admin.run(&["trust-ca", name, "--sudo"]);
        assert_eq!(said.code, 0, "{said:?}");
    }
    let logins = Logins {
        done: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        let working = scope.spawn(|| logins.go_on(&user, &["rot-a", "rot-b"]));
        let at_end = StopAtEnd(&logins);
        logins.some_more();
        rotate(&admin, &machines, &logins);
        logins.some_more();
        drop(at_end);
        working.join().unwrap();
    });
    // No login asked for a certificate of a CA that the host did not trust.
    let failed = admin.sql(
        "select count(*) from vctl.access_log where vault_user = 'userpass-worker' and result <> 'ok'",
    );
    assert_eq!(failed, "0");
    back_again(&admin, machines);
}

fn rotate(admin: &Administrator<'_>, machines: &[(&str, Machine); 3], logins: &Logins) {
    let keys = |machine: &Machine| {
        let text = fs::read_to_string(machine.etc_ssh("vault-ca.pub")).unwrap_or_default();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let printed = || admin.run(&["ca", "ssh-print"]).stdout;
    let [(_, a), (_, b), (_, c)] = machines;
    let old = printed().trim().to_owned();
    let host_key = a.host_key();
    let vouched = [
        "ca",
        "host-cert",
        "rot-a",
        "--key",
        host_key.to_str().unwrap(),
    ];
    assert_eq!(admin.run(&vouched).code, 0);
    let plan = admin.run(&["ca", "ssh-rotate", "--plan"]).stdout;
    assert!(plan.contains("at ssh/ signs"), "{plan}");
    assert!(
        plan.contains("1 of 3 hosts is not known to trust it\n  rot-c\n"),
        "{plan}"
    );
    assert_eq!(
        admin.run(&["ca", "ssh-rotate", "--finish", "--yes"]).code,
        2
    );

    needs_the_roles_of_scopes(admin);
    // Two hosts get the new CA. The third host is not reachable, so the new CA does not sign yet.
    let said = admin.run(&["ca", "ssh-rotate", "--next", "--yes"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.stderr
            .contains("1 host does not trust the new SSH CA yet"),
        "{said:?}"
    );
    let both = printed();
    let new = both.lines().find(|line| **line != *old).unwrap().to_owned();
    assert_eq!(both.lines().count(), 2);
    for machine in [a, b] {
        assert_eq!(keys(machine), [&*old, &*new]);
    }
    assert_eq!(
        admin
            .run(&["ca", "ssh-rotate", "--plan", "-o", "name"])
            .stdout,
        "rot-c\n"
    );
    logins.some_more();
    let again = admin.run(&["ca", "ssh-rotate", "--next", "--yes"]);
    assert_eq!(again.code, 1, "{again:?}");
    assert_eq!(signs(admin), old);
    assert_eq!(
        admin.run(&["ca", "ssh-rotate", "--finish", "--yes"]).code,
        2
    );

    // After an ordinary `trust-ca`, the host trusts both CAs.
    let said = admin.run(&["trust-ca", "rot-c", "--sudo", "--verify"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(keys(c), [&*old, &*new]);
    let of_before = certificate(admin, a);
    assert!(lets_in(admin, a, &of_before));
    let said = admin.run(&["ca", "ssh-rotate", "--next", "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(signs(admin), new);
    logins.some_more();
    assert!(admin.logs_in("rot-c"));
    assert!(
        lets_in(admin, a, &of_before),
        "the old CA was removed too early"
    );

    // vctl removes the old CA after the last certificate of that CA ended. Certificates of a scope live for a day, longer
    // than those for all hosts. The certificates of hosts count too.
    admin.sql("update vctl.ca_keys set state_since = state_since - interval '2 hours' where state = 'active'");
    let said = admin.run(&["ca", "ssh-rotate", "--finish", "--yes"]);
    assert!(
        said.code == 75 && said.stderr.contains("may be valid until"),
        "{said:?}"
    );
    let said = admin.run(&["ca", "ssh-rotate", "--finish", "--yes", "--now"]);
    assert!(
        said.code == 1 && said.stderr.contains("`vctl ca host-cert rot-a`"),
        "{said:?}"
    );
    assert!(!said.stderr.contains("trust-ca"), "{said:?}");
    assert_eq!(keys(a).len(), 2);
    assert_eq!(admin.run(&vouched).code, 0);
    let said = admin.run(&["ca", "ssh-rotate", "--finish", "--yes", "--now"]);
    assert_eq!(said.code, 0, "{said:?}");
    for (name, machine) in machines {
        assert_eq!(keys(machine), [&*new], "{name}");
    }
    assert_eq!(printed().trim(), new);
    assert!(
        !lets_in(admin, a, &of_before),
        "the host still trusts the old CA"
    );
    logins.some_more();
    // The database names a wrong mount for the signing CA. vctl learns the right mount from Vault.
    admin.sql("update vctl.ca_keys set mount = 'elsewhere' where state = 'active'");
    assert!(admin.logs_in("rot-b"));
    admin.sql("update vctl.ca_keys set mount = 'ssh-next' where state = 'active'");
    let plan = admin.run(&["ca", "ssh-rotate", "--plan"]).stdout;
    assert!(plan.contains("at ssh-next/ signs"), "{plan}");
    assert!(plan.contains("0 of 3 hosts"), "{plan}");
}

/// Grants a scope whose role is at the old mount only, then creates the role at the new mount. Another scope has no role
/// at either mount.
fn needs_the_roles_of_scopes(admin: &Administrator<'_>) {
    admin.sql(
        "insert into vctl.rbac_grants (group_name, command, scope) \
         values ('everyone', 'ssh', 'dc=rotation'), ('everyone', 'ssh', 'dc=nowhere')",
    );
    let vault = admin.centre.bao.admin().unwrap();
    let mut role = vault.get("ssh/roles/sre-core").unwrap()["data"].take();
    role["allowed_users"] = json!("root@dc=rotation");
    role["ttl"] = json!(86_400);
    role["max_ttl"] = json!(86_400);
    let name = "roles/vctl-scope-dc-rotation";
    vault.post(&format!("ssh/{name}"), &role).unwrap();
    let said = admin.run(&["ca", "ssh-rotate", "--next", "--yes"]);
    assert_eq!(said.code, 78, "{said:?}");
    let missing = format!("Vault has no role `ssh-next/{name}`");
    assert!(said.stderr.contains(&missing), "{said:?}");
    assert_eq!(admin.run(&["ca", "ssh-print"]).stdout.lines().count(), 1);
    vault.post(&format!("ssh-next/{name}"), &role).unwrap();
}

/// Runs the next rotation with a host that does not exist any more. vctl continues only with an explicit option.
fn back_again(admin: &Administrator<'_>, machines: [(&str, Machine); 3]) {
    let [_, (_, b), _] = machines;
    drop(b);
    let said = admin.run(&["ca", "ssh-rotate", "--next", "--yes"]);
    assert_eq!(said.code, 1, "{said:?}");
    let said = admin.run(&["ca", "ssh-rotate", "--next", "--yes"]);
    assert!(
        said.code == 1 && said.stderr.contains("--force-without rot-b"),
        "{said:?}"
    );
    let said = admin.run(&[
        "ca",
        "ssh-rotate",
        "--next",
        "--yes",
        "--force-without",
        "rot-x",
    ]);
    assert_eq!(said.code, 2, "{said:?}");
    let without = ["--force-without", "rot-b"];
    let said = admin.run(&[&["ca", "ssh-rotate", "--next", "--yes"], &without[..]].concat());
    assert_eq!(said.code, 0, "{said:?}");
    // The rows of the migrations do not look like a second active CA.
    assert_eq!(admin.run(&["migrate"]).code, 0);
    // The host certificate is still of the old CA.
    let finish = [
        "ca",
        "ssh-rotate",
        "--finish",
        "--yes",
        "--now",
        "--force-without",
        "rot-a",
    ];
    // A missing host may still trust the old CA, so vctl keeps the key of that CA.
    let said = admin.run(&finish);
    assert!(
        said.code == 1 && said.stderr.contains("still trusts the old SSH CA"),
        "{said:?}"
    );
    assert!(said.stderr.contains("--force-without rot-b"), "{said:?}");
    assert_eq!(admin.run(&["ca", "ssh-print"]).stdout.lines().count(), 2);
    let said = admin.run(&[&finish[..], &without[..]].concat());
    assert_eq!(said.code, 0, "{said:?}");
    let mounts =
        "select string_agg(mount || ' ' || state, ',' order by added_at) from vctl.ca_keys";
    assert_eq!(admin.sql(mounts), "ssh retired,ssh-next retired,ssh active");
    assert!(admin.logs_in("rot-c"));
    let key = admin.run(&["ca", "ssh-print", "-o", "csv"]).stdout;
    assert!(key.trim_end().ends_with(",ssh"), "{key}");
}

/// Returns the CA that signs the certificate of a login now.
fn signs(admin: &Administrator<'_>) -> String {
    assert!(admin.logs_in("rot-a"));
    admin.sql(
        "select k.public_key from vctl.access_log l join vctl.ca_keys k on k.fingerprint = l.ca_fingerprint \
         where vault_user = 'userpass-rotator' order by l.id desc limit 1",
    )
}

/// Lets the CA at `ssh/` sign the administrator's own key. Returns the file of the certificate.
fn certificate(admin: &Administrator<'_>, machine: &Machine) -> std::path::PathBuf {
    let key = fs::read_to_string(admin.at.home("key.pub")).unwrap();
    let wish = json!({"public_key": key, "valid_principals": machine.user()});
    let vault = admin.centre.bao.admin().unwrap();
    let signed = vault.post("ssh/sign/sre-core", &wish).unwrap();
    let path = admin.at.home("old-cert.pub");
    fs::write(&path, signed["data"]["signed_key"].as_str().unwrap()).unwrap();
    path
}

/// Returns whether a host accepts this certificate. The host does not know the key itself.
fn lets_in(admin: &Administrator<'_>, machine: &Machine, certificate: &std::path::Path) -> bool {
    machine.authorize("").unwrap();
    let option = |name: &str, path: &std::path::Path| format!("{name}={}", path.display());
    let status = Command::new("/usr/bin/ssh")
        .args([
            "-F",
            "none",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "BatchMode=yes",
        ])
        .args([
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
        ])
        .arg(option("IdentityFile", &admin.at.home("key")))
        .arg("-o")
        .arg(option("CertificateFile", certificate))
        .args([
            "-p",
            &machine.port().to_string(),
            "-l",
            machine.user(),
            "127.0.0.1",
            "true",
        ])
        .status()
        .unwrap();
    status.success()
}
