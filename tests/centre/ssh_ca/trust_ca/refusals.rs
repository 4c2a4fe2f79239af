//! If `trust-ca` fails, the host is unchanged, byte by byte, and the database does not record the CA for it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use vctl_tests::centre::Machine;

use super::{Administrator, OTHER, shared};

/// Returns every file below a directory, with its mode.
fn all_of(directory: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(all_of(&path));
            continue;
        }
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        let name = path.display().to_string();
        all.insert(name, (mode, fs::read(&path).unwrap()));
    }
    all
}

/// Expects that `trust-ca` fails and that the host is unchanged.
fn fails(admin: &Administrator<'_>, machine: &Machine, name: &str, code: i32, why: &str) {
    let before = all_of(&machine.etc_ssh(""));
    let said = admin.run(&["trust-ca", name, "--sudo"]);
    assert_eq!(said.code, code, "{said:?}");
    assert!(said.stderr.contains(why), "{why}: {}", said.stderr);
    assert_eq!(all_of(&machine.etc_ssh("")), before, "{why}");
    assert!(!admin.applied(name), "{why}");
}

#[test]
fn a_configuration_that_sshd_refuses_is_undone() {
    let Some(centre) = shared() else { return };
    let admin = Administrator::new(centre, "trust-back");
    let machine = admin.machine("trust-back-1");
    let config = machine.etc_ssh("sshd_config");
    let good = fs::read_to_string(&config).unwrap();
    let name = "trust-back-1";
    // The earlier files were valid, and `trust-ca` restores them.
    let [line, _] = OTHER;
    fs::write(machine.etc_ssh("vault-ca.pub"), format!("{line}\n")).unwrap();
    let drop_in = machine.etc_ssh("sshd_config.d/10-vault-ca.conf");
    fs::write(&drop_in, "TrustedUserCAKeys /etc/ssh/other.pub\n").unwrap();
    fs::set_permissions(&drop_in, fs::Permissions::from_mode(0o600)).unwrap();
    // The configuration was already broken, so `trust-ca` does not start.
    fs::write(&config, format!("{good}NoSuchKeyword yes\n")).unwrap();
    fails(
        &admin,
        &machine,
        name,
        78,
        "rejects its current configuration",
    );
    // sshd reads no drop-ins, or another line comes first.
    let without = good.replacen("Include", "#Include", 1);
    fs::write(&config, &without).unwrap();
    fails(
        &admin,
        &machine,
        name,
        78,
        "Include /etc/ssh/sshd_config.d/*.conf",
    );
    fs::write(
        &config,
        format!("TrustedUserCAKeys /etc/ssh/first.pub\n{good}"),
    )
    .unwrap();
    fails(&admin, &machine, name, 78, "/etc/ssh/first.pub");
    // The rest of the configuration needs a line that the old drop-in has and the new drop-in does not have.
    let before = fs::read(&drop_in).unwrap();
    fs::write(
        &drop_in,
        "TrustedUserCAKeys /etc/ssh/other.pub\nAuthorizedKeysCommandUser nobody\n",
    )
    .unwrap();
    let needy = format!("{good}AuthorizedKeysCommand /bin/false\n");
    fs::write(&config, needy).unwrap();
    let why = "rejects the new configuration";
    fails(&admin, &machine, name, 78, why);
    fs::write(&drop_in, before).unwrap();
    // sshd cannot be reloaded, because its process id is unknown.
    fs::write(&config, good.replace("PidFile ", "PidFile none\n#")).unwrap();
    fails(&admin, &machine, name, 1, "was not reloaded");
    // Another process has that process id.
    let pid = config.with_file_name("pid");
    fs::write(&pid, std::process::id().to_string()).unwrap();
    let another = format!("PidFile {}\n#", pid.display());
    fs::write(&config, good.replace("PidFile ", &another)).unwrap();
    fails(&admin, &machine, name, 1, "is not sshd");
    // After the repair, `trust-ca` works.
    fs::write(&config, &good).unwrap();
    let said = admin.run(&["trust-ca", name, "--sudo", "--verify"]);
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn no_ca_that_sshd_trusts_is_lost_to_another_file() {
    let Some(centre) = shared() else { return };
    let admin = Administrator::new(centre, "trust-kept");
    let machine = admin.machine("trust-kept-1");
    let config = machine.etc_ssh("sshd_config");
    let good = fs::read_to_string(&config).unwrap();
    let [line, fingerprint] = OTHER;
    fs::write(machine.etc_ssh("first.pub"), format!("# ours\n{line}")).unwrap();
    // After the drop-ins: without the script's file, sshd uses this one.
    fs::write(
        &config,
        format!("{good}\nTrustedUserCAKeys /etc/ssh/first.pub\n"),
    )
    .unwrap();
    let why = "cat /etc/ssh/first.pub >>/etc/ssh/vault-ca.pub";
    fails(&admin, &machine, "trust-kept-1", 78, why);
    // As the error says, or by its name.
    let said = admin.run(&[
        "trust-ca",
        "trust-kept-1",
        "--sudo",
        "--dry-run",
        "--prune",
        fingerprint,
    ]);
    assert_eq!(said.code, 0, "{said:?}");
    fs::write(machine.etc_ssh("vault-ca.pub"), format!("{line}\n")).unwrap();
    let said = admin.run(&["trust-ca", "trust-kept-1", "--sudo"]);
    assert_eq!(said.code, 0, "{said:?}");
    let keys = fs::read_to_string(machine.etc_ssh("vault-ca.pub")).unwrap();
    assert!(keys.starts_with(line), "{keys}");
    assert_eq!(keys.lines().count(), 2, "{keys}");
}

#[test]
fn a_host_that_still_refuses_certificates_is_reported() {
    let Some(centre) = shared() else { return };
    let admin = Administrator::new(centre, "trust-proof");
    let machine = admin.machine("trust-proof-1");
    let config = machine.etc_ssh("sshd_config");
    let text = fs::read_to_string(&config).unwrap();
    // The principals of the certificates match no account on this host.
    fs::write(machine.etc_ssh("names"), "nobody-has-this\n").unwrap();
    fs::write(
        &config,
        format!("{text}AuthorizedPrincipalsFile /etc/ssh/names\n"),
    )
    .unwrap();
    let said = admin.run(&["trust-ca", "trust-proof-1", "--sudo", "--verify"]);
    assert_eq!(said.code, 77, "{said:?}");
    assert!(
        said.stderr.contains("does not accept a certificate of it"),
        "{said:?}"
    );
    assert!(!admin.applied("trust-proof-1"));
}

#[test]
fn a_refused_ssh_login_is_reported_and_not_recorded() {
    let Some(centre) = shared() else { return };
    let admin = Administrator::new(centre, "trust-out");
    let machine = admin.machine("trust-out-1");
    machine.authorize("").unwrap();
    let said = admin.run(&["trust-ca", "trust-out-1", "--sudo"]);
    assert_eq!(said.code, 255, "{said:?}");
    assert!(said.stderr.contains("Permission denied"), "{said:?}");
    assert!(said.stderr.contains("-i KEY"), "{said:?}");
    let said = admin.run(&["trust-ca", "trust-none-such"]);
    assert_eq!(said.code, 66, "{said:?}");
    fs::remove_file(admin.at.home("bin/ssh")).unwrap();
    let mut command = admin.command(&["trust-ca", "trust-out-1"]);
    command.env("PATH", admin.at.home("bin"));
    let said: crate::login::Said = command.output().unwrap().into();
    assert_eq!(said.code, 66, "{said:?}");
    assert!(said.stderr.contains("cannot run `ssh`"), "{said:?}");
    assert!(!admin.applied("trust-out-1"));
}
