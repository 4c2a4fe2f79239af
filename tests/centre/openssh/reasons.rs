//! The user sees why a connection through `vctl proxy` fails, even if `ssh` hides the stderr of its proxy. This happens
//! with a persistent master, as Ansible uses it.

use std::process::Command;

use serde_json::json;

use super::Desk;
use crate::login::Said;
use crate::ssh::shared;

/// Makes `ssh` start a persistent master. `ssh` then sends the proxy's stderr to /dev/null.
fn master(desk: &Desk<'_>) -> Vec<String> {
    let path = desk.home("cm-%C");
    let options = [
        "BatchMode=yes".to_owned(),
        "ControlMaster=auto".to_owned(),
        "ControlPersist=5".to_owned(),
        format!("ControlPath={}", path.display()),
    ];
    options
        .into_iter()
        .map(|option| format!("-o{option}"))
        .collect()
}

fn command(desk: &Desk<'_>, program: &str, args: &[&str]) -> Command {
    let master = master(desk);
    let options: Vec<&str> = master.iter().map(String::as_str).collect();
    desk.command(program, &[&options[..], args].concat())
}

fn run(desk: &Desk<'_>, program: &str, args: &[&str]) -> Said {
    command(desk, program, args).output().unwrap().into()
}

#[test]
fn the_reason_of_a_failure_reaches_people_behind_a_master() {
    let Some(centre) = shared() else { return };
    let desk = Desk::new(centre, "reasons");
    let host = centre.host.as_ref().unwrap();
    desk.operator.knows("reason-1", host);
    desk.operator
        .inventory("reason-nobody", "127.0.0.1", host.port(), "nobody");
    desk.operator
        .remembers(&format!("reason-nobody {}\n", host.public_key()));
    desk.operator
        .inventory("reason-closed", "127.0.0.1", 1, host.user());
    desk.operator
        .inventory("reason-gone", "127.0.0.1", host.port(), host.user());
    desk.install();
    let sql = "delete from vctl.servers where hostname = 'reason-gone'";
    centre
        .postgres
        .psql(vctl_tests::centre::DATABASE, sql)
        .unwrap();
    // The role is missing, the port is closed, the host is gone.
    let expected = [
        ("reason-nobody", "Vault signs no key for `nobody`"),
        ("reason-closed", "cannot connect to `reason-closed`"),
        ("reason-gone", "`reason-gone`"),
    ];
    for (name, why) in expected {
        for (program, args) in [
            ("ssh", vec![name, "true"]),
            ("scp", vec!["/dev/null", &format!("{name}:x")]),
            ("sftp", vec![&format!("{name}:x")]),
        ] {
            let said = run(&desk, program, &args);
            assert_ne!(said.code, 0, "{program} {name}: {said:?}");
            let line = said.stderr.lines().find(|line| line.contains("vctl: "));
            assert!(
                line.is_some_and(|line| line.contains(why)),
                "{program} {name}: {said:?}"
            );
        }
    }
    // This failure comes before all others: Vault is not reachable.
    let mut command = command(&desk, "ssh", &["reason-1", "true"]);
    let said = Said::from(
        command
            .env("VCTL_VAULT_ADDR", "https://127.0.0.1:1")
            .output()
            .unwrap(),
    );
    assert_eq!(said.code, 255, "{said:?}");
    assert!(
        said.stderr.contains("vctl: ") && said.stderr.contains("127.0.0.1:1"),
        "{said:?}"
    );
    // Connections still work, both the one that starts the master and the one that uses it.
    for _ in 0..2 {
        let said = run(&desk, "ssh", &["reason-1", "exit 3"]);
        assert_eq!(said.code, 3, "{said:?}");
    }
    let said = run(&desk, "ssh", &["-Oexit", "reason-1"]);
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn a_missing_certificate_is_explained_by_a_disconnect() {
    let Some(centre) = shared() else { return };
    let desk = Desk::new(centre, "reason-late");
    desk.operator
        .knows("reason-late-1", centre.host.as_ref().unwrap());
    desk.install();
    // The token may still look up hosts. Vault refuses only the signature.
    let admin = centre.bao.admin().unwrap();
    let policies = json!({"policies": ["vctl-user"]});
    admin
        .post("auth/userpass/users/reason-late", &policies)
        .unwrap();
    let password = json!({"password": "another-one"});
    admin
        .post("auth/userpass/users/reason-late/password", &password)
        .unwrap();
    let args = ["login", "--username", "reason-late", "--password-stdin"];
    assert_eq!(desk.operator.at.given(&args, "another-one").code, 0);
    let said = run(&desk, "ssh", &["reason-late-1", "true"]);
    assert_eq!(said.code, 255, "{said:?}");
    assert!(
        said.stderr.contains("vctl: ") && said.stderr.contains("`vctl-ssh`"),
        "{said:?}"
    );
}
