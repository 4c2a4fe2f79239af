//! The remembered method of the last login, and the message before another login.

use vctl_tests::centre::Centre;

use super::{Workstation, person};

fn logged_in<'a>(centre: &'a Centre, name: &str, ttl_s: u64) -> Workstation<'a> {
    let password = person(centre, name, ttl_s, ttl_s);
    let workstation = Workstation::new(centre);
    let args = [
        "login",
        "--method",
        "userpass",
        "--username",
        name,
        "--password-stdin",
    ];
    let said = workstation.given(&args, &password);
    assert_eq!(said.code, 0, "{said:?}");
    workstation
}

#[test]
fn the_next_login_goes_the_way_of_the_last() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = logged_in(centre, "remembered", 3600);
    assert_eq!(workstation.run(&["logout"]).code, 0);
    for args in [vec!["token"], vec!["login"]] {
        let mut terminal = workstation.before_a_person(&args);
        terminal.wait_for("Password of remembered").unwrap();
        let shown = terminal.shown();
        assert!(shown.contains("as remembered (userpass)"), "{shown}");
        assert_eq!(
            shown.contains("not logged in to Vault"),
            args == ["token"],
            "{shown}"
        );
        terminal.type_in("\u{3}").unwrap();
        terminal.end().unwrap();
    }
    // The method is remembered for this server only, and a configured method has priority.
    let elsewhere = centre.bao.address().replace("127.0.0.1", "localhost");
    for (variable, value) in [
        ("VCTL_VAULT_ADDR", &*elsewhere),
        ("VCTL_AUTH_METHOD", "oidc"),
    ] {
        let mut command = workstation.command(&["token"]);
        command.env(variable, value);
        let mut terminal = vctl_tests::terminal::Terminal::start(command, 100).unwrap();
        terminal.wait_for("(oidc)").unwrap();
        terminal.type_in("\u{3}").unwrap();
        terminal.end().unwrap();
    }
    assert_eq!(workstation.run(&["logout", "--all"]).code, 0);
    let mut terminal = workstation.before_a_person(&["token"]);
    terminal.wait_for("(oidc)").unwrap();
    terminal.type_in("\u{3}").unwrap();
    terminal.end().unwrap();
}

#[test]
fn an_expired_login_is_reported_before_the_next_one() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = logged_in(centre, "ended", 2);
    vctl_tests::fixture::await_that("the login has ended", || {
        workstation.run(&["token"]).code == 77
    });
    let mut terminal = workstation.before_a_person(&["token"]);
    terminal.wait_for("Password of ended").unwrap();
    let shown = terminal.shown();
    assert!(shown.contains("the login to Vault"), "{shown}");
    terminal.type_in("\u{3}").unwrap();
    terminal.end().unwrap();
}
