//! Commands that share a login while others start, end, or are killed.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use vctl_tests::centre::Centre;
use vctl_tests::lab::{PATIENCE, eventually};

use super::User;
use crate::login::Said;

#[test]
fn a_killed_command_leaves_at_most_one_login() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let user = User::new(centre, "dbl-kill");
    // A command that is killed between the answer of Vault and the file leaves a login that no command has.
    let mut limit = 1;
    for wait_ms in [0, 20, 50, 100, 200] {
        limit += usize::from(!user.file().exists());
        kill_after(&user, wait_ms);
    }
    user.list();
    assert!(user.logins() <= limit, "{} > {limit}", user.logins());
    let said = user.at.run(&["logout"]);
    assert_eq!(said.code, 0, "{said:?}");
    user.await_logins(0);
}

#[test]
fn a_killed_command_with_a_shared_login_leaves_no_other() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let user = User::new(centre, "dbl-kill-more");
    user.list();
    let shared = user.login();
    for wait_ms in [10, 30, 60, 100, 200] {
        kill_after(&user, wait_ms);
    }
    user.list();
    assert_eq!((user.login(), user.logins()), (shared, 1));
}

#[test]
fn the_next_command_uses_the_login_of_a_killed_one() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let user = User::new(centre, "dbl-kill-next");
    let mut child = start(&user, &["list"]);
    // The login is stored before Postgres gets it, so this is the middle of the command.
    let is_stored = || Ok(user.file().exists());
    assert!(eventually(PATIENCE, is_stored).unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    let left = user.login();
    assert_eq!(user.logins(), 1);
    for _ in 0..2 {
        user.list();
        assert_eq!((user.login(), user.logins()), (left.clone(), 1));
    }
    let said = user.at.run(&["logout"]);
    assert_eq!(said.code, 0, "{said:?}");
    user.await_logins(0);
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
fn parallel_commands_replace_all_lost_logins() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let user = User::new(centre, "dbl-many-lost");
    // The four logins of a crowd.
    for number in ["4", "3", "2", "1"] {
        user.list();
        if number != "1" {
            let moved = user.at.home(&format!(".vctl/db-login.vctl-ro.{number}"));
            fs::rename(user.file(), moved).unwrap();
        }
    }
    assert_eq!((user.files(), user.logins()), (4, 4));
    // As after a restore of Postgres.
    let own = "rolname like 'ro/userpass-dbl-many-lost~%'";
    let drop = format!(
        "do $$ declare lost text; begin for lost in select rolname from pg_roles where {own} loop \
         execute format('drop role %I', lost); end loop; end $$"
    );
    user.psql(&drop);
    let children: Vec<Child> = (0..20).map(|_| start(&user, &["list"])).collect();
    for child in children {
        let said: Said = child.wait_with_output().unwrap().into();
        assert_eq!(said.code, 0, "{said:?}");
    }
    assert!(user.logins() <= 4, "{}", user.logins());
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

fn kill_after(user: &User<'_>, wait_ms: u64) {
    let mut child = start(user, &["list"]);
    std::thread::sleep(Duration::from_millis(wait_ms));
    child.kill().unwrap();
    child.wait().unwrap();
}

fn start(user: &User<'_>, args: &[&str]) -> Child {
    let mut command = user.at.command(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}
