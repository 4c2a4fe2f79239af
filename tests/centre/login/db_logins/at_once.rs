//! Commands that share a login while others start, end, or are killed.

use std::process::{Child, Stdio};
use std::time::Duration;

use vctl_tests::centre::Centre;
use vctl_tests::lab::{PATIENCE, eventually};

use super::User;
use crate::login::Said;

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
