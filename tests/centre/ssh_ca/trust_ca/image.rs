//! The root directory of an image gets the same files as a host.

use std::fs;

use super::{Administrator, OTHER, shared};

#[test]
fn an_image_gets_the_same_files_and_twice_is_once() {
    let Some(centre) = shared() else { return };
    let nobody = Administrator::nobody(centre);
    let marker = nobody.at.home("expanded");
    let image = format!("an image; $(touch {})", marker.display());
    let image = nobody.at.home(&image);
    let etc = image.join("etc/ssh");
    let root = image.to_str().unwrap();
    let run = || nobody.run(&["trust-ca", "--root", root]);
    assert_eq!(run().code, 66);
    fs::create_dir_all(&etc).unwrap();
    let said = run();
    assert_eq!(said.code, 66, "{said:?}");
    fs::write(etc.join("sshd_config"), "Port 22\n").unwrap();
    let said = run();
    assert_eq!(said.code, 78, "{said:?}");
    assert!(!etc.join("vault-ca.pub").exists());
    let config = "Include /etc/ssh/sshd_config.d/*.conf\n";
    let trusting = format!("{config} trustedUserCAKeys = \"/etc/ssh/first.pub\"\n");
    fs::write(etc.join("sshd_config"), trusting).unwrap();
    fs::write(etc.join("first.pub"), format!("{}\n", OTHER[0])).unwrap();
    let said = run();
    assert_eq!(said.code, 78, "{said:?}");
    assert!(
        said.stderr.contains("cat /etc/ssh/first.pub >>"),
        "{said:?}"
    );
    assert!(!etc.join("vault-ca.pub").exists());
    fs::write(etc.join("sshd_config"), config).unwrap();
    fs::write(etc.join("vault-ca.pub"), format!("{}\n", OTHER[0])).unwrap();
    // vctl checks the sshd of the image, and not the sshd of this machine, which trusts no CA.
    let plan = || nobody.run(&["trust-ca", "--root", root, "--dry-run"]);
    let said = plan();
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.contains("would trust"), "{said:?}");
    assert!(!said.stderr.contains("reloaded"), "{said:?}");
    assert!(!etc.join("sshd_config.d").exists());
    let said = run();
    assert_eq!(said.code, 0, "{said:?}");
    let key = centre.ssh_authority().unwrap();
    let keys = fs::read_to_string(etc.join("vault-ca.pub")).unwrap();
    assert_eq!(keys, format!("{}\n{}\n", OTHER[0], key.trim()));
    let drop_in = fs::read_to_string(etc.join("sshd_config.d/10-vault-ca.conf")).unwrap();
    assert!(drop_in.ends_with("\nTrustedUserCAKeys /etc/ssh/vault-ca.pub\n"));
    let again = run();
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.stderr.contains("nothing to change"));
    let again = plan();
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.stderr.contains("nothing to change"));
    let said = nobody.run(&["trust-ca", "--root", root, "--prune", OTHER[1]]);
    assert_eq!(said.code, 0, "{said:?}");
    let keys = fs::read_to_string(etc.join("vault-ca.pub")).unwrap();
    assert_eq!(keys.trim(), key.trim());
    assert!(!marker.exists());
}
