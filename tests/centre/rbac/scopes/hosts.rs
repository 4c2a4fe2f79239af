//! Hosts that `vctl trust-ca` made accept scopes, and Vault's roles: a certificate opens only the hosts of its scope.

use std::fs;

use vctl_tests::centre::Machine;

use super::{Enforced, Signed, enforced};
use crate::ssh_ca::trust_ca::Administrator;

/// Starts a host of a data centre and makes it accept the scopes of the file that cover it.
fn machine(enforced: &Enforced, admin: &Administrator<'_>, name: &str, dc: &str) -> Machine {
    let machine = admin.machine(name);
    admin.sql(&format!(
        "update vctl.servers set dc = '{dc}' where hostname = '{name}'"
    ));
    let file = enforced.file();
    let said = admin.run(&[
        "trust-ca",
        name,
        "--sudo",
        "--scopes",
        file.to_str().unwrap(),
    ]);
    assert_eq!(said.code, 0, "{said:?}");
    machine
}

#[test]
fn a_certificate_is_accepted_only_within_its_scope() {
    let Some(enforced) = enforced() else { return };
    let (admin, account) = (
        Administrator::new(enforced.centre, "scope-hosts"),
        enforced.account(),
    );
    let a = machine(enforced, &admin, "scope-host-a", "scope-a");
    let b = machine(enforced, &admin, "scope-host-b", "scope-b");
    let root = enforced.centre.bao.admin().unwrap();
    let within = |role: &str, principal: &str| Signed::by(&root, role, principal).unwrap();
    let of_a = within("vctl-scope-dc-scope-a", &format!("{account}@dc=scope-a"));
    assert!(of_a.logs_in(a.port(), &account));
    assert!(!of_a.logs_in(b.port(), &account));
    let of_b = within("vctl-scope-dc-scope-b", &format!("{account}@dc=scope-b"));
    assert!(!of_b.logs_in(a.port(), &account));
    assert!(of_b.logs_in(b.port(), &account));
    let by_name = within(
        "vctl-scope-dc-scope-b.host-scope-_",
        &format!("{account}@dc=scope-b+host=scope-*"),
    );
    assert!(!by_name.logs_in(a.port(), &account));
    assert!(by_name.logs_in(b.port(), &account));
    // The scope allows root too, but each certificate is for one account.
    let of_root = within("vctl-scope-dc-scope-a", "root@dc=scope-a");
    assert!(!of_root.logs_in(a.port(), &account));
    assert!(of_root.logs_in(a.port(), "root"));
    // Users of all hosts are not affected.
    let everywhere = within("sre-core", &account);
    assert!(everywhere.logs_in(a.port(), &account));
    assert!(everywhere.logs_in(b.port(), &account));
    // A host without scopes refuses them all.
    let plain = admin.machine("scope-host-plain");
    let said = admin.run(&["trust-ca", "scope-host-plain", "--sudo"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(everywhere.logs_in(plain.port(), &account));
    assert!(!of_a.logs_in(plain.port(), &account));
}

#[test]
fn trust_ca_sets_the_scopes_of_a_host() {
    let Some(enforced) = enforced() else { return };
    let admin = Administrator::new(enforced.centre, "scope-trust");
    let name = "scope-trust-1";
    let machine = machine(enforced, &admin, name, "scope-b");
    let drop_in = machine.etc_ssh("sshd_config.d/10-vault-ca.conf");
    let with_scopes = "TrustedUserCAKeys /etc/ssh/vault-ca.pub\n\
                       AuthorizedPrincipalsCommand /usr/bin/printf %%s\\n %u %u@dc=scope-b \
                       %u@dc=scope-b+host=scope-*\n\
                       AuthorizedPrincipalsCommandUser nobody\n";
    let text = || fs::read_to_string(&drop_in).unwrap();
    assert!(text().ends_with(with_scopes), "{}", text());
    let run = |args: &[&str]| {
        let args = [&["trust-ca", name, "--sudo"], args].concat();
        admin.run(&args)
    };
    let file = enforced.file();
    let file = file.to_str().unwrap();
    // Neither the same scopes nor no scopes change anything.
    for args in [&["--scopes", file][..], &[]] {
        let said = run(args);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.stderr.contains("nothing to change"), "{said:?}");
    }
    let said = run(&["--scope", "dc=scope-b", "--dry-run"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.stdout
            .contains("would accept certificates of the scope dc=scope-b\n"),
        "{said:?}"
    );
    assert!(text().ends_with(with_scopes), "{}", text());
    // The line in sshd's configuration cannot limit the accounts.
    let said = run(&["--scope", "dc=scope-b,user=root"]);
    assert_eq!(said.code, 2, "{said:?}");
    let reason = "accepts the certificates of all accounts in a scope; leave out `user=root`";
    assert!(said.stderr.contains(reason), "{said:?}");
    // A scope of another data centre is refused, and so is a file that is not a scope file.
    let said = run(&["--scope", "dc=scope-a"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.stderr.contains(
            "the scope `dc=scope-a` does not cover `scope-trust-1`, in data centre `scope-b`"
        ),
        "{said:?}"
    );
    let wrong = enforced.directory.path().join("wrong.json");
    fs::write(&wrong, r#"{"dc=scope-b": {}}"#).unwrap();
    let said = run(&["--scopes", wrong.to_str().unwrap()]);
    assert_eq!(said.code, 78, "{said:?}");
    assert!(
        said.stderr.contains("`users` of `dc=scope-b` is missing"),
        "{said:?}"
    );
    assert!(text().ends_with(with_scopes), "{}", text());
    // After a move to another data centre, the host accepts the scopes of that one only.
    admin.sql("update vctl.servers set dc = 'scope-a' where hostname = 'scope-trust-1'");
    let said = run(&["--scopes", file]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(text().contains(" %u %u@dc=scope-a\n"), "{}", text());
    // An sshd that gets its principals elsewhere would not enforce the scopes.
    let config = machine.etc_ssh("sshd_config");
    let before = fs::read_to_string(&config).unwrap();
    let other =
        "AuthorizedPrincipalsCommand /usr/bin/echo %u\nAuthorizedPrincipalsCommandUser nobody\n";
    // Some versions of sshd use the first of such lines, and others the last.
    fs::write(&config, format!("{other}{before}{other}")).unwrap();
    let said = run(&["--scopes", file]);
    assert_eq!(said.code, 78, "{said:?}");
    assert!(
        said.stderr
            .contains("sshd gets principals from /usr/bin/echo %u instead"),
        "{said:?}"
    );
    fs::write(&config, before).unwrap();
    admin.sql("update vctl.servers set dc = 'elsewhere' where hostname = 'scope-trust-1'");
    let said = run(&["--scopes", file]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        text().ends_with("\nTrustedUserCAKeys /etc/ssh/vault-ca.pub\n"),
        "{}",
        text()
    );
    assert!(
        said.stdout.contains("accepts certificates of no scope"),
        "{said:?}"
    );
}

#[test]
fn vault_signs_no_principal_of_another_scope() {
    let Some(enforced) = enforced() else { return };
    let account = enforced.account();
    let client = enforced
        .centre
        .with_policies(&["vctl-user", "vctl-scope-dc-scope-a"])
        .unwrap();
    let ask = |role: &str, principals: &str| Signed::by(&client, role, principals).err();
    let own = "vctl-scope-dc-scope-a";
    let principal = format!("{account}@dc=scope-a");
    assert_eq!(ask(own, &principal), None);
    for (role, principals, status) in [
        (own, format!("{account}@dc=scope-b"), 400),
        (own, account.clone(), 400),
        (own, "root".to_owned(), 400),
        (own, format!("{principal},{account}"), 400),
        (own, "*".to_owned(), 400),
        (
            "vctl-scope-dc-scope-b",
            format!("{account}@dc=scope-b"),
            403,
        ),
        ("sre-core", account.clone(), 403),
        ("vctl-host", account.clone(), 403),
    ] {
        assert_eq!(ask(role, &principals), Some(status), "{role} {principals}");
    }
    // A pattern in a principal is text: the role signs no principal that the pattern would match.
    let root = enforced.centre.bao.admin().unwrap();
    let pattern = "vctl-scope-dc-scope-b.host-scope-_";
    let place = "dc=scope-b+host=scope-";
    let refused = Signed::by(&root, pattern, &format!("{account}@{place}1"));
    assert_eq!(refused.err(), Some(400));
    assert!(Signed::by(&root, pattern, &format!("{account}@{place}*")).is_ok());
    let narrow = enforced
        .centre
        .with_policies(&[&format!("vctl-scope-dc-scope-a.user-{account}")])
        .unwrap();
    let role = format!("vctl-scope-dc-scope-a.user-{account}");
    assert!(Signed::by(&narrow, &role, &principal).is_ok());
    let refused = Signed::by(&narrow, &role, "root@dc=scope-a");
    assert_eq!(refused.err(), Some(400));
    // A certificate without a principal would be for every account.
    let refused = Signed::by(&client, own, "");
    assert_eq!(refused.err(), Some(400));
}
