//! The lines in ~/.ssh/config appear once and in the same form, and a host's name cannot add text to them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use serde_json::json;
use vctl_tests::centre::DATABASE;

use super::{BEFORE, Desk, shared};

#[test]
fn the_lines_are_there_once_and_go_again() {
    let Some(centre) = shared() else { return };
    let desk = Desk::new(centre, "ossh-install");
    let host = centre.another_host("ossh-install").unwrap();
    desk.operator.knows("ossh-install-1", &host);
    fs::set_permissions(desk.config(), fs::Permissions::from_mode(0o640)).unwrap();
    desk.install();
    let once = fs::read_to_string(desk.config()).unwrap();
    let line = format!("Include \"{}\"\n", desk.home(".vctl/ssh/config").display());
    assert_eq!(once, format!("{line}{BEFORE}"));
    desk.operator.knows("ossh-install-2", &host);
    desk.install();
    assert_eq!(fs::read_to_string(desk.config()).unwrap(), once);
    assert_eq!(fs::metadata(desk.config()).unwrap().mode() & 0o777, 0o640);
    assert_eq!(desk.ssh(&["ossh-install-2", "true"]).code, 0);
    let said = desk.operator.at.run(&["ssh-config", "--uninstall"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(fs::read_to_string(desk.config()).unwrap(), BEFORE);
    assert!(!desk.home(".vctl/ssh/config").exists());
    desk.recorded("ossh-install-2", &host, 1);
}

#[test]
fn text_of_the_inventory_never_becomes_an_option() {
    let Some(centre) = shared() else { return };
    let desk = Desk::new(centre, "ossh-hostile");
    let marker = desk.home("work/owned");
    let command = format!("touch {}", marker.display());
    let users = [
        format!("root\n    LocalCommand {command}\n    PermitLocalCommand yes"),
        format!("root\r\nProxyCommand {command}"),
        format!("$({command})"),
        format!("x'; {command} #"),
        format!("root\" -oProxyCommand={command}"),
        "%h".to_owned(),
        "-oProxyCommand=x".to_owned(),
    ];
    // The database checks the name of a host, but it does not check the user.
    for (index, user) in users.iter().enumerate() {
        let sql = format!(
            "insert into vctl.servers (hostname, ip, ssh_user) values ('ossh-hostile-{index}', '127.0.0.1', $u${user}$u$)"
        );
        centre.postgres.psql(DATABASE, &sql).unwrap();
    }
    desk.operator
        .inventory("ossh-hostile-not", "127.0.0.1", 1, "root");
    let said = desk.operator.at.run(&["ssh-config"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.contains("\nHost ossh-hostile-not\n"));
    assert_eq!(
        said.stdout.matches("ossh-hostile-").count(),
        3,
        "{}",
        said.stdout
    );
    assert!(
        said.stderr.contains("left out") && said.stderr.contains("ossh-hostile-6"),
        "{}",
        said.stderr
    );
    desk.install();
    let said = desk.ssh(&["-G", "ossh-hostile-0"]);
    let is_none = !said.stdout.contains("touch") && !said.stdout.contains("vctl");
    assert!(is_none, "{}", said.stdout);
    // vctl does not accept this user either, although a git submodule could set it.
    let said = desk.ssh(&["-l", &format!("$({command})"), "ossh-hostile-not", "true"]);
    assert_eq!(said.code, 255);
    assert!(!marker.exists());
}

#[test]
fn a_host_certificate_of_our_ca_is_accepted() {
    let Some(centre) = shared() else { return };
    let desk = Desk::new(centre, "ossh-hostcert");
    let host = centre.another_host("ossh-hostcert").unwrap();
    desk.operator
        .inventory("ossh-hostcert-1", "127.0.0.1", host.port(), host.user());
    desk.operator
        .inventory("ossh-hostcert-2", "127.0.0.1", host.port(), host.user());
    let admin = centre.bao.admin().unwrap();
    let role = json!({
        "key_type": "ca", "allow_host_certificates": true, "allowed_domains": "*",
        "allow_bare_domains": true, "allow_subdomains": true,
    });
    admin.post("ssh/roles/spec-host", &role).unwrap();
    let wish = json!({
        "public_key": host.public_key(), "cert_type": "host", "valid_principals": "ossh-hostcert-1",
    });
    let signed = admin.post("ssh/sign/spec-host", &wish).unwrap();
    host.show_certificate(signed["data"]["signed_key"].as_str().unwrap())
        .unwrap();
    desk.install();
    let said = desk.ssh(&["ossh-hostcert-1", "true"]);
    assert_eq!(said.code, 0, "{said:?}");
    // The certificate must be for the name of this host.
    let said = desk.ssh(&["ossh-hostcert-2", "true"]);
    assert_eq!(said.code, 255);
    assert!(
        said.stderr.contains("Host key verification failed"),
        "{}",
        said.stderr
    );
    desk.recorded("ossh-hostcert-1", &host, 1);
}

#[test]
fn another_user_name_gets_a_certificate_of_its_own() {
    let Some(centre) = shared() else { return };
    let desk = Desk::new(centre, "ossh-user");
    let host = centre.another_host("ossh-user").unwrap();
    desk.operator
        .inventory("ossh-user-1", "127.0.0.1", host.port(), "rocky");
    desk.operator
        .remembers(&format!("ossh-user-1 {}\n", host.public_key()));
    desk.install();
    let said = desk.ssh(&["-l", host.user(), "ossh-user-1", "id -un"]);
    assert_eq!(
        (said.code, said.stdout.trim_end()),
        (0, host.user()),
        "{said:?}"
    );
    let rows = desk.recorded("ossh-user-1", &host, 1);
    assert_eq!(rows[0]["login_user"], host.user());
}

#[test]
fn sync_reads_what_stands_beside_the_lines_and_not_them() {
    let Some(centre) = shared() else { return };
    let desk = Desk::new(centre, "ossh-sync");
    let host = centre.another_host("ossh-sync").unwrap();
    // The user's own `HostName` line does not matter: vctl knows the host by its name.
    let own = format!(
        "Host ossh-sync-1\n    HostName 127.0.0.1\n    Port {}\n{BEFORE}",
        host.port()
    );
    fs::write(desk.config(), &own).unwrap();
    desk.operator
        .inventory("ossh-sync-1", "127.0.0.1", 1, host.user());
    desk.operator
        .inventory("ossh-sync-2", "127.0.0.1", 1, host.user());
    desk.operator
        .remembers(&format!("ossh-sync-1 {}\n", host.public_key()));
    desk.install();
    let seen = desk.operator.at.run(&["sync", "--dry-run"]);
    assert_eq!(seen.code, 0, "{seen:?}");
    let line = format!(
        "change  ossh-sync-1  127.0.0.1:{}  unknown  direct  up\n",
        host.port()
    );
    let (_heading, plan) = seen.stdout.split_once('\n').unwrap();
    assert_eq!(plan, line, "{seen:?}");
    let sql = format!(
        "update vctl.servers set ssh_port = {} where hostname = 'ossh-sync-1'",
        host.port()
    );
    centre.postgres.psql(DATABASE, &sql).unwrap();
    desk.install();
    let said = desk.ssh(&["ossh-sync-1", "true"]);
    assert_eq!(said.code, 0, "{said:?}");
    desk.recorded("ossh-sync-1", &host, 1);
}
