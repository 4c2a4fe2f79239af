//! Commands share a database login in `~/.vctl`, and it never outlives its token.

mod at_once;
mod refused;
mod server;
mod short_leases;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use serde_json::Value;
use vctl_tests::centre::{Centre, DATABASE};
use vctl_tests::lab::{PATIENCE, eventually};

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
