//! This machine has no browser: the user has a browser on another machine.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use vctl_tests::browser::Browser;

use super::{Desk, SignOn, log_in_at_the_provider, shown_address, state_of};

/// Occupies the port, so that the browser finds a server that is not vctl, as on another machine.
fn take(port: u16) {
    let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    thread::spawn(move || {
        for mut socket in taken.incoming().flatten() {
            let _ = socket.read(&mut [0; 4096]);
            let _ = socket
                .write_all(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nsomebody else");
        }
    });
}

#[test]
fn the_address_that_the_browser_ends_at_is_pasted() {
    let Some(sign_on) = SignOn::shared() else {
        return;
    };
    let Some(mut browser) = Browser::or_skip() else {
        return;
    };
    let password = sign_on.account("sso-dora", &["vctl-ssh-users"]);
    let desk = Desk::new(sign_on);
    take(desk.port);
    let mut terminal = desk.log_in(&["--no-browser"]);
    browser.open(&shown_address(&mut terminal)).unwrap();
    log_in_at_the_provider(&mut browser, "sso-dora", &password);
    browser.wait_for("somebody else").unwrap();
    let address = browser.address().unwrap();
    assert!(address.contains("code="), "{address}");
    terminal.wait_for("paste it here").unwrap();
    // vctl reports a wrong input, and asks again.
    terminal.type_in("\r").unwrap();
    terminal.type_in("https://vault.example.net/\r").unwrap();
    terminal
        .wait_for("not the final address of the login")
        .unwrap();
    let of_another = desk.callback("code=a&state=st_other");
    terminal.type_in(&format!("{of_another}\r")).unwrap();
    terminal.wait_for("belongs to another login").unwrap();
    terminal.type_in(&format!(" {address} \r")).unwrap();
    assert!(terminal.end().unwrap().success(), "{}", terminal.shown());
    assert!(!desk.has_opened());
    desk.has_token_of("sso-dora", &["vctl-ssh"]);
}

#[test]
fn the_browser_answers_while_pasting_stays_possible() {
    let Some(sign_on) = SignOn::shared() else {
        return;
    };
    let Some(mut browser) = Browser::or_skip() else {
        return;
    };
    let password = sign_on.account("sso-emil", &["vctl-ssh-users"]);
    let desk = Desk::new(sign_on);
    let mut terminal = desk.log_in(&["--no-browser"]);
    // The keyboard input ends here.
    terminal.wait_for("> ").unwrap();
    terminal.type_in("\u{4}").unwrap();
    browser.open(&shown_address(&mut terminal)).unwrap();
    log_in_at_the_provider(&mut browser, "sso-emil", &password);
    browser.wait_for("You are logged in").unwrap();
    assert!(terminal.end().unwrap().success(), "{}", terminal.shown());
    // The line of the prompt ends first.
    let shown = terminal.shown();
    assert!(shown.contains("> \r\nlogged in as sso-emil"), "{shown}");
    assert!(!desk.has_opened());
    desk.has_token_of("sso-emil", &["vctl-ssh"]);
}

#[test]
fn a_refusal_can_be_pasted() {
    let Some(sign_on) = SignOn::shared() else {
        return;
    };
    let desk = Desk::new(sign_on);
    let mut terminal = desk.log_in(&["--no-browser"]);
    let state = state_of(&shown_address(&mut terminal)).to_owned();
    terminal.wait_for("> ").unwrap();
    let refusal = desk.callback(&format!("error=access_denied&state={state}"));
    terminal.type_in(&format!("{refusal}\r")).unwrap();
    assert_eq!(terminal.end().unwrap().code(), Some(77));
    let shown = terminal.shown();
    assert!(
        shown.contains("the identity provider refused the login: access_denied"),
        "{shown}"
    );
}

#[test]
fn where_no_browser_opens_one_may_paste() {
    let Some(sign_on) = SignOn::shared() else {
        return;
    };
    // `xdg-open` would start a text browser in this terminal.
    let without_screen = Desk::new(sign_on);
    let mut command = without_screen.command(&["login"]);
    command.env_remove("DISPLAY");
    let broken = Desk::new(sign_on);
    // `xdg-open` uses this exit code if no program could open the address.
    broken.opens_with("exit 3");
    let mut other = broken.command(&["login"]);
    other.env("PATH", broken.workstation.home("bin"));
    for (desk, command) in [(without_screen, command), (broken, other)] {
        let mut terminal = vctl_tests::terminal::Terminal::start(command, 1000).unwrap();
        terminal.wait_for("cannot open a browser here").unwrap();
        terminal.wait_for("> ").unwrap();
        let state = state_of(&shown_address(&mut terminal)).to_owned();
        let refusal = desk.callback(&format!("error=server_error&state={state}"));
        terminal.type_in(&format!("{refusal}\r")).unwrap();
        assert_eq!(
            terminal.end().unwrap().code(),
            Some(77),
            "{}",
            terminal.shown()
        );
        assert!(!desk.has_opened());
    }
}
