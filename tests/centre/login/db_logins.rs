//! Commands share a database login in `~/.vctl`, and it never outlives its token.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use vctl_tests::centre::{Centre, DATABASE};
use vctl_tests::lab::{PATIENCE, Programs, eventually};

use super::{Said, Workstation, person};

/// A user with a file for the login of `vctl list`.
struct User<'a> {
    at: Workstation<'a>,
    name: &'static str,
    password: String,
}

impl<'a> User<'a> {
    fn new(centre: &'a Centre, name: &'static str) -> Self {
        let user = Self {
            at: Workstation::new(centre),
            name,
            password: person(centre, name, 3600, 7200),
        };
        user.log_in();
        user
    }

    fn log_in(&self) {
        let args = ["login", "--username", self.name, "--password-stdin"];
        let said = self.at.given(&args, &self.password);
        assert_eq!(said.code, 0, "{said:?}");
    }

    fn list(&self) -> Said {
        let said = self.at.run(&["list"]);
        assert_eq!(said.code, 0, "{said:?}");
        said
    }

    fn file(&self) -> PathBuf {
        self.at.home(".vctl/db-login.vctl-ro")
    }

    fn stored(&self) -> Value {
        serde_json::from_slice(&fs::read(self.file()).unwrap()).unwrap()
    }

    /// Returns the name of the login in the file.
    fn login(&self) -> String {
        self.stored()["username"].as_str().unwrap().to_owned()
    }

    fn change(&self, changes: &[(&str, Value)]) {
        let mut stored = self.stored();
        for (key, value) in changes {
            stored[key] = value.clone();
        }
        fs::write(self.file(), stored.to_string()).unwrap();
    }

    /// Returns the number of files with logins.
    fn files(&self) -> usize {
        let entries = fs::read_dir(self.at.home(".vctl")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        let is_login = |name: &std::ffi::OsString| {
            let name = name.to_string_lossy();
            // Also a file that was not completed.
            name.trim_start_matches('.').starts_with("db-login.")
        };
        names.filter(is_login).count()
    }

    /// Returns the number of this user's reading logins in Postgres.
    fn logins(&self) -> usize {
        let sql = format!(
            "select count(*) from pg_roles where rolname ~ '^(ro|audit-wr)/userpass-{}~'",
            self.name
        );
        self.psql(&sql).parse().unwrap()
    }

    fn await_logins(&self, count: usize) {
        let reached = || Ok(self.logins() == count);
        assert!(eventually(PATIENCE, reached).unwrap(), "{}", self.logins());
    }

    fn psql(&self, sql: &str) -> String {
        self.at.centre.postgres.psql(DATABASE, sql).unwrap()
    }
}

#[test]
fn the_next_command_uses_the_login_of_the_last() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let user = User::new(centre, "dbl-next");
    user.list();
    let (first, mode) = (user.login(), fs::metadata(user.file()).unwrap().mode());
    assert_eq!(mode & 0o7777, 0o600);
    let name = format!("ro/userpass-{}~", user.name);
    assert!(first.starts_with(&name), "{first}");
    for _ in 0..3 {
        user.list();
    }
    assert_eq!((user.login(), user.logins()), (first, 1));
}

#[test]
fn a_token_of_the_environment_leaves_no_login() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let user = User::new(centre, "dbl-env");
    let token = user.at.token();
    let mut list = user.at.command(&["list"]);
    let said: Said = list.env("VAULT_TOKEN", token).output().unwrap().into();
    assert_eq!((said.code, user.files()), (0, 0), "{said:?}");
    user.await_logins(0);
}

#[test]
fn without_sharing_each_command_revokes_its_login() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let user = User::new(centre, "dbl-off");
    let mut list = user.at.command(&["list"]);
    let said: Said = list
        .env("VCTL_DB_LOGIN_KEEP", "0s")
        .output()
        .unwrap()
        .into();
    assert_eq!((said.code, user.files()), (0, 0), "{said:?}");
    user.await_logins(0);
}

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
        ("role", json!("database/vctl-rw")),
        ("database", json!("other.example:5432/vctl")),
        ("version", json!(2)),
    ] {
        let first = user.login();
        user.change(&[(key, value)]);
        user.list();
        assert_ne!(user.login(), first, "{key}");
    }
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

#[test]
fn logout_revokes_the_shared_login() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let user = User::new(centre, "dbl-out");
    user.list();
    assert_eq!((user.files(), user.logins()), (1, 1));
    let said = user.at.run(&["logout"]);
    assert_eq!((said.code, user.files()), (0, 0), "{said:?}");
    user.await_logins(0);
}

#[test]
fn a_new_login_drops_the_shared_login_of_the_last() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let user = User::new(centre, "dbl-again");
    user.list();
    user.log_in();
    assert_eq!(user.files(), 0);
    user.list();
    // A login with the same token keeps it.
    let token = user.at.token();
    let first = user.login();
    let said = user.at.given(&["login", "--token-stdin"], &token);
    assert_eq!((said.code, user.login()), (0, first), "{said:?}");
}

#[test]
fn a_killed_command_leaves_only_the_shared_login() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let user = User::new(centre, "dbl-kill");
    for wait_ms in [0, 20, 50, 100, 200] {
        let mut child = start(&user, &["list"]);
        std::thread::sleep(Duration::from_millis(wait_ms));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    user.list();
    // A command that was killed between the answer of Vault and the file leaves a login that no command has.
    assert!(user.logins() <= 2, "{}", user.logins());
    let before = user.logins();
    for _ in 0..5 {
        let mut child = start(&user, &["list"]);
        std::thread::sleep(Duration::from_millis(30));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    user.list();
    assert_eq!(user.logins(), before);
}

#[test]
fn parallel_commands_create_one_login() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let user = User::new(centre, "dbl-many");
    let children: Vec<Child> = (0..20).map(|_| start(&user, &["list"])).collect();
    for child in children {
        let said: Said = child.wait_with_output().unwrap().into();
        let is_live = !said.stderr.contains("cached");
        assert!(said.code == 0 && is_live, "{said:?}");
    }
    // This login has two connections, so others are created after a while. No command has one of its own.
    let (files, logins) = (user.files(), user.logins());
    assert!(
        (1..=4).contains(&logins) && logins == files,
        "{logins} {files}"
    );
}

#[test]
fn a_logout_among_commands_leaves_no_login() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let user = User::new(centre, "dbl-race");
    for round in 0..3 {
        let children: Vec<Child> = (0..15).map(|_| start(&user, &["list"])).collect();
        std::thread::sleep(Duration::from_millis(100 + 150 * round));
        let said = user.at.run(&["logout"]);
        assert_eq!(said.code, 0, "{said:?}");
        for child in children {
            let said: Said = child.wait_with_output().unwrap().into();
            // Right, not logged in, or cut off by the logout.
            let is_clear = match said.code {
                0 => !said.stderr.contains("error: "),
                69 | 75 | 77 => said.stderr.contains("error: "),
                _ => false,
            };
            assert!(is_clear, "{said:?}");
        }
        assert_eq!(user.files(), 0);
        user.await_logins(0);
        user.log_in();
    }
}

fn start(user: &User<'_>, args: &[&str]) -> Child {
    let mut command = user.at.command(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}
