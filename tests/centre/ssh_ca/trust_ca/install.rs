//! The result of `trust-ca` on a new host, and on a host that already has a configuration.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{Administrator, OTHER, shared};

#[test]
fn trust_ca_makes_a_host_accept_certificates() {
    let Some(centre) = shared() else { return };
    let admin = Administrator::new(centre, "trust-new");
    let machine = admin.machine("trust-new-1");
    assert!(!admin.logs_in("trust-new-1"));
    // A dry run changes nothing.
    let planned = admin.run(&["trust-ca", "trust-new-1", "--sudo", "--dry-run"]);
    assert_eq!(planned.code, 0, "{planned:?}");
    assert!(
        planned.stdout.contains("would trust SHA256:"),
        "{planned:?}"
    );
    assert!(!machine.etc_ssh("vault-ca.pub").exists());
    assert!(!admin.applied("trust-new-1"));
    // Without root, `trust-ca` cannot change anything.
    let refused = admin.run(&["trust-ca", "trust-new-1"]);
    assert_eq!(refused.code, 77, "{refused:?}");
    assert!(refused.stderr.contains("--sudo"), "{refused:?}");
    let said = admin.run(&["trust-ca", "trust-new-1", "--sudo", "--verify"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stderr.contains("a certificate for"), "{said:?}");
    assert!(admin.logs_in("trust-new-1"));
    let key = centre.ssh_authority().unwrap();
    let file = machine.etc_ssh("vault-ca.pub");
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        format!("{}\n", key.trim())
    );
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o644
    );
    let drop_in = machine.etc_ssh("sshd_config.d/10-vault-ca.conf");
    let text = fs::read_to_string(&drop_in).unwrap();
    assert!(
        text.contains("TrustedUserCAKeys /etc/ssh/vault-ca.pub\n"),
        "{text}"
    );
    assert!(admin.applied("trust-new-1"));
    let known = "select count(*) from vctl.host_trust t join vctl.ca_keys k using (fingerprint) \
                 where t.hostname = 'trust-new-1' and k.state = 'active'";
    assert_eq!(admin.sql(known), "1");
    // A second run has nothing to do and does nothing.
    let reloads = machine.log().matches("Received SIGHUP").count();
    let again = admin.run(&["trust-ca", "trust-new-1", "--sudo"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.stderr.contains("nothing to change"), "{again:?}");
    assert_eq!(machine.log().matches("Received SIGHUP").count(), reloads);
    assert_eq!(
        nothing_else(&machine.etc_ssh("")),
        ["sshd_config", "sshd_config.d", "vault-ca.pub"]
    );
    assert_eq!(
        nothing_else(&machine.etc_ssh("sshd_config.d")),
        ["10-vault-ca.conf"]
    );
    // vctl called the administrator's own `ssh` with the name from the inventory, and passed the address.
    let calls = fs::read_to_string(admin.at.home("ssh-calls")).unwrap();
    assert!(calls.contains("HostName=127.0.0.1"), "{calls}");
    assert!(calls.contains("-- trust-new-1 sudo -n sh -s"), "{calls}");
}

fn nothing_else(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn an_existing_ca_stays_until_it_is_removed_by_name() {
    let Some(centre) = shared() else { return };
    let admin = Administrator::new(centre, "trust-two");
    let machine = admin.machine("trust-two-1");
    let [line, fingerprint] = OTHER;
    let file = machine.etc_ssh("vault-ca.pub");
    // The file has no line end, and contains the CA of Vault in a comment.
    let ca = centre.ssh_authority().unwrap();
    let text = format!("# {}\n\n{line} old one", ca.trim());
    fs::write(&file, &text).unwrap();
    let said = admin.run(&["trust-ca", "trust-two-1", "--sudo"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.stdout.contains(&format!("{fingerprint}, as before")),
        "{said:?}"
    );
    let both = format!("{text}\n{}\n", ca.trim());
    assert_eq!(fs::read_to_string(&file).unwrap(), both);
    assert!(admin.logs_in("trust-two-1"));
    let trusts = "select count(*) from vctl.host_trust where hostname = 'trust-two-1'";
    assert_eq!(admin.sql(trusts), "2");
    let said = admin.run(&["trust-ca", "trust-two-1", "--sudo", "--prune", fingerprint]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.stdout
            .contains(&format!("no longer trusts {fingerprint}")),
        "{said:?}"
    );
    let one = format!("# {}\n\n{}\n", ca.trim(), ca.trim());
    assert_eq!(fs::read_to_string(&file).unwrap(), one);
    assert_eq!(admin.sql(trusts), "1");
    assert!(admin.logs_in("trust-two-1"));
    // vctl refuses to remove the CA that Vault signs with.
    let own = admin.run(&["ca", "ssh-print", "-o", "name"]).stdout;
    let said = admin.run(&["trust-ca", "trust-two-1", "--sudo", "--prune", own.trim()]);
    assert_eq!(said.code, 2, "{said:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), one);
}

#[test]
fn a_host_past_the_inventory_needs_no_login_to_vault() {
    let Some(centre) = shared() else { return };
    let admin = Administrator::new(centre, "trust-addr");
    let machine = admin.machine("trust-addr-1");
    let nobody = Administrator::nobody(centre);
    let key = fs::read_to_string(nobody.at.home("key.pub")).unwrap();
    machine.authorize(&key).unwrap();
    let key = nobody.at.home("key");
    let at = format!("root@127.0.0.1:{}", machine.port());
    let said = nobody.run(&["trust-ca", &at, "-i", key.to_str().unwrap()]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(admin.logs_in("trust-addr-1"));
    assert!(!admin.applied("trust-addr-1"));
}

#[test]
fn the_ca_keys_are_printed_without_a_login() {
    let Some(centre) = shared() else { return };
    let nobody = Administrator::nobody(centre);
    let key = centre.ssh_authority().unwrap();
    let printed = nobody.run(&["ca", "ssh-print"]);
    assert_eq!((printed.code, printed.stdout.trim()), (0, key.trim()));
    let json: serde_json::Value =
        serde_json::from_str(&nobody.run(&["ca", "ssh-print", "-o", "json"]).stdout).unwrap();
    assert_eq!(json["authorities"][0]["public_key"], key.trim());
    assert_eq!(json["authorities"][0]["mount"], "ssh");
    let script = nobody.run(&["trust-ca", "--script"]).stdout;
    let cloud = nobody.run(&["trust-ca", "--cloud-init"]).stdout;
    assert!(cloud.starts_with("#cloud-config\n"), "{cloud}");
    for line in script.lines().filter(|line| !line.is_empty()) {
        assert!(cloud.contains(&format!("      {line}\n")), "{line}");
    }
    // The printed script does the same on a host as `trust-ca`.
    let admin = Administrator::new(centre, "trust-script");
    let machine = admin.machine("trust-script-1");
    let path = admin.at.home("script.sh");
    fs::write(&path, &script).unwrap();
    let port = machine.port().to_string();
    let mut ssh = std::process::Command::new(admin.at.home("bin/ssh"));
    ssh.args(["-p", &port, "root@127.0.0.1", "sh -s"]);
    let done = crate::login::give(ssh, &script);
    assert!(done.stdout.contains("vctl:result applied"), "{done:?}");
    assert!(admin.logs_in("trust-script-1"));
    // A truncated script does nothing, whether it ends after a line or within its last line. Only the last line starts
    // the work.
    let before = fs::read(machine.etc_ssh("vault-ca.pub")).unwrap();
    fs::remove_file(machine.etc_ssh("vault-ca.pub")).unwrap();
    let whole = script.trim_end();
    let lines = whole.match_indices('\n').map(|(end, _)| end);
    let begin = whole.rfind('\n').unwrap();
    let words = whole[begin..].match_indices(' ').map(|(at, _)| begin + at);
    let name = begin + whole[begin..].find("vctl_trust_ca").unwrap() + "vctl_trust_ca".len();
    let ends = lines.step_by(20).chain([begin, name]).chain(words);
    for end in ends.chain([whole.len() - 1]) {
        let mut ssh = std::process::Command::new(admin.at.home("bin/ssh"));
        ssh.args(["-p", &port, "root@127.0.0.1", "sh -s"]);
        let half = crate::login::give(ssh, &whole[..end]);
        assert!(!half.stdout.contains("vctl:"), "{end}: {half:?}");
        assert!(!machine.etc_ssh("vault-ca.pub").exists(), "{end}");
    }
    fs::write(machine.etc_ssh("vault-ca.pub"), before).unwrap();
}

#[test]
fn trust_ca_works_beside_our_ssh_config() {
    let Some(centre) = shared() else { return };
    let admin = Administrator::new(centre, "trust-installed");
    let machine = admin.machine("trust-installed-1");
    let (config, read) = (admin.at.home(".ssh/config"), admin.at.home("ssh_config"));
    fs::copy(&read, &config).unwrap();
    assert_eq!(admin.run(&["ssh-config", "--install"]).code, 0);
    // The lines that `ssh` would read if this were its home.
    fs::copy(&config, &read).unwrap();
    let files = || fs::read_dir(admin.at.home(".vctl/ssh")).unwrap().count();
    let before = files();
    let said = admin.run(&["trust-ca", "trust-installed-1", "--sudo", "--verify"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(machine.etc_ssh("vault-ca.pub").exists());
    assert_eq!(files(), before);
    // An administrator without a key on the host also goes through vctl.
    machine.authorize(OTHER[0]).unwrap();
    let said = admin.run(&["trust-ca", "trust-installed-1", "--sudo"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.stderr.contains("trying again through vctl"),
        "{said:?}"
    );
}
