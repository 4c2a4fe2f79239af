//! Shared logins that vctl does not use: lost, too old, of another user, or in a file that vctl refuses.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use serde_json::json;
use vctl_tests::centre::Centre;
use vctl_tests::lab::Programs;

use super::User;
use crate::login::Said;

#[test]
fn a_login_that_postgres_lost_is_replaced() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let user = User::new(centre, "dbl-lost");
    user.list();
    let losses: [&dyn Fn(&str); 4] = [
        &|_| {
            let lease = user.stored()["lease_id"].as_str().unwrap().to_owned();
            let body = json!({"lease_id": lease, "sync": true});
            let admin = centre.bao.admin().unwrap();
            admin.post("sys/leases/revoke", &body).unwrap();
        },
        &|login| drop(user.psql(&format!("drop role \"{login}\""))),
        &|login| drop(user.psql(&format!("alter role \"{login}\" rename to \"{login}-old\""))),
        // As after a restore of an older backup, whose login of this name has another password.
        &|login| drop(user.psql(&format!("alter role \"{login}\" password 'other'"))),
    ];
    for lose in losses {
        let lost = user.login();
        lose(&lost);
        let said = user.list();
        assert!(!said.stderr.contains("login"), "{said:?}");
        assert_ne!(user.login(), lost);
    }
}

#[test]
fn a_login_is_not_used_beside_its_own_time() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let user = User::new(centre, "dbl-time");
    user.list();
    // The clock was set back behind its creation, its time is over, and its lease is too short for a whole command.
    for changes in [
        [
            ("created", json!("2099-01-01T00:00:00Z")),
            ("ttl_s", json!(3600)),
        ],
        [
            ("created", json!("2020-01-01T00:00:00Z")),
            ("ttl_s", json!(3600)),
        ],
        [("ttl_s", json!(90)), ("version", json!(1))],
    ] {
        let first = user.login();
        user.change(&changes);
        user.list();
        assert_ne!(user.login(), first, "{changes:?}");
    }
    for (key, value) in [
        ("accessor", json!("other")),
        ("vault_addr", json!("https://other.example")),
        ("vault_namespace", json!("other")),
        ("version", json!(2)),
    ] {
        let first = user.login();
        user.change(&[(key, value)]);
        user.list();
        assert_ne!(user.login(), first, "{key}");
    }
}

#[test]
fn commands_for_two_databases_leave_one_login() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let user = User::new(centre, "dbl-two");
    user.list();
    let first = user.login();
    for _ in 0..3 {
        let mut other = user.at.command(&["list"]);
        other.env("VCTL_DB_HOST", "localhost");
        let said = Said::from(other.output().unwrap());
        assert_eq!(said.code, 0, "{said:?}");
        user.list();
    }
    assert_eq!(user.login(), first);
    user.await_logins(1);
    // Another mount of the database engine, as of another role in Vault.
    user.change(&[("role", json!("other/vctl-ro"))]);
    user.list();
    assert_eq!(user.login(), first);
    user.await_logins(1);
    // Its time is over.
    user.change(&[("created", json!("2020-01-01T00:00:00Z"))]);
    user.list();
    assert_ne!(user.login(), first);
}

#[test]
fn the_login_of_another_user_is_never_used() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let (user, other) = (User::new(centre, "dbl-own"), User::new(centre, "dbl-other"));
    user.list();
    other.list();
    let theirs = other.stored();
    let changes = ["username", "password", "lease_id"].map(|key| (key, theirs[key].clone()));
    user.change(&changes);
    user.list();
    let name = format!("ro/userpass-{}~", user.name);
    assert!(user.login().starts_with(&name), "{}", user.login());
}

#[test]
fn a_login_file_that_others_can_write_is_refused() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let user = User::new(centre, "dbl-files");
    let spoilers: [(&str, &dyn Fn()); 4] = [
        ("belongs to another user", &|| {
            chown(user.file(), Some(4242), None).unwrap();
        }),
        ("other users can write", &|| {
            fs::set_permissions(user.file(), fs::Permissions::from_mode(0o660)).unwrap();
        }),
        ("not a regular file", &|| {
            fs::rename(user.file(), user.at.home("target")).unwrap();
            symlink(user.at.home("target"), user.file()).unwrap();
        }),
        ("not a regular file", &|| {
            fs::create_dir(user.file()).unwrap();
        }),
    ];
    for (why, spoil) in spoilers {
        user.list();
        let first = user.login();
        if why == "not a regular file" && user.at.home("target").exists() {
            fs::remove_file(user.file()).unwrap();
        }
        spoil();
        let said = user.list();
        assert!(
            said.stderr.contains("cannot use the database login") && said.stderr.contains(why),
            "{said:?}"
        );
        let is_file = fs::symlink_metadata(user.file()).unwrap().is_file();
        if is_file {
            assert_ne!(user.login(), first, "{why}");
        } else if fs::remove_file(user.file()).is_err() {
            fs::remove_dir(user.file()).unwrap();
        }
    }
}

#[test]
fn a_home_that_cannot_be_written_shares_no_login() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let user = User::new(centre, "dbl-full");
    let vctl = Programs::find().unwrap().vctl;
    let dir = user.at.home(".vctl");
    for (what, mount) in [
        (
            "Read-only",
            "mount --bind \"$0\" \"$0\" && mount -o remount,ro,bind \"$0\"",
        ),
        (
            "No space left",
            "cp \"$0/token\" \"$0/../copy\" && mount -t tmpfs -o size=8k,mode=0700 none \"$0\" && \
             cp \"$0/../copy\" \"$0/token\" && { head -c 100000 /dev/zero >\"$0/rest\" || true; }",
        ),
    ] {
        let script = format!("{{ {mount}; }} 2>/dev/null >&2 && exec \"$1\" list");
        let mut list = user.at.program("unshare", &["-m", "sh", "-c", &script]);
        let said: Said = list.arg(&dir).arg(&vctl).output().unwrap().into();
        assert_eq!(said.code, 0, "{what}: {said:?}");
        let note = "the database login is used for this command only";
        assert_eq!(said.stderr.matches(note).count(), 1, "{what}: {said:?}");
        assert!(said.stderr.contains(what), "{what}: {said:?}");
        assert_eq!(user.files(), 0);
        user.await_logins(0);
    }
}
