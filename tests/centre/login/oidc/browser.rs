//! The browser goes to the provider and comes back.

use std::fs;
use std::path::PathBuf;

use vctl_tests::browser::Browser;

use super::{Desk, SignOn, log_in_at_the_provider, shown_address, state_of};

#[test]
fn a_login_is_confirmed_in_browser_and_terminal() {
    let Some((sign_on, mut browser)) = with_browser() else {
        return;
    };
    let password = sign_on.account("sso-albert", &["vctl-ssh-users"]);
    let desk = Desk::new(sign_on);
    let mut terminal = desk.log_in(&[]);
    let address = desk.opened();
    assert_eq!(address, shown_address(&mut terminal));
    browser.open(&address).unwrap();
    log_in_at_the_provider(&mut browser, "sso-albert", &password);
    browser.wait_for("You are logged in").unwrap();
    assert!(terminal.end().unwrap().success(), "{}", terminal.shown());
    let shown = terminal.shown();
    let full_or_less = ["for 1h00m", "for 59m"];
    let lasts = full_or_less.map(|lasts| format!("logged in as sso-albert, {lasts}"));
    assert!(lasts.iter().any(|lasts| shown.contains(lasts)), "{shown}");
    desk.has_token_of("sso-albert", &["vctl-ssh"]);
    assert!(!shown.contains(&desk.workstation.token()), "{shown}");

    // The browser shows the whole page after vctl ended, and the page is visible in both colour schemes.
    let mut pictures = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefers(scheme).unwrap();
        let ground = "getComputedStyle(document.body).backgroundColor";
        let is_dark = browser.evaluate(ground).unwrap() == "rgb(20, 23, 26)";
        assert_eq!(is_dark, scheme == "dark");
        let picture = picture(&desk, &format!("logged-in-{scheme}"));
        browser.screenshot(&picture).unwrap();
        pictures.push(fs::read(picture).unwrap());
    }
    assert!(pictures.iter().all(|picture| picture.len() > 8_000));
    assert_ne!(pictures[0], pictures[1]);
    let scripts = browser.evaluate("document.scripts.length").unwrap();
    assert_eq!(scripts, 0);
    // A second callback fails, because vctl no longer listens.
    assert!(browser.open(&desk.callback("code=x&state=y")).is_err());
}

#[test]
fn a_refused_login_names_the_reason() {
    let Some((sign_on, mut browser)) = with_browser() else {
        return;
    };
    let password = sign_on.account("sso-mallory", &["others"]);
    let desk = Desk::new(sign_on);
    let mut terminal = desk.log_in(&[]);
    browser.open(&desk.opened()).unwrap();
    log_in_at_the_provider(&mut browser, "sso-mallory", &password);
    browser.wait_for("The login failed").unwrap();
    browser.wait_for("error validating claims").unwrap();
    assert_eq!(terminal.end().unwrap().code(), Some(77));
    let shown = terminal.shown();
    assert!(shown.contains("error validating claims"), "{shown}");
    assert!(shown.contains("auth/oidc/role/vctl"), "{shown}");
    desk.has_no_token();
}

#[test]
fn an_answer_of_another_login_changes_nothing() {
    let Some((sign_on, mut browser)) = with_browser() else {
        return;
    };
    let password = sign_on.account("sso-berta", &["vctl-auditors"]);
    let desk = Desk::new(sign_on);
    let mut terminal = desk.log_in(&[]);
    let address = desk.opened();
    for query in [
        "code=stolen&state=st_of_somebody_else",
        "code=stolen",
        "error=access_denied&error_description=no&state=st_of_somebody_else",
        "error=access_denied",
        &format!("code=a&state={0}&state={0}", state_of(&address)),
    ] {
        browser.open(&desk.callback(query)).unwrap();
        browser.wait_for("not the expected login").unwrap();
    }
    browser.open(&address).unwrap();
    log_in_at_the_provider(&mut browser, "sso-berta", &password);
    browser.wait_for("You are logged in").unwrap();
    assert!(terminal.end().unwrap().success(), "{}", terminal.shown());
    desk.has_token_of("sso-berta", &["vctl-auditor"]);
}

#[test]
fn a_refusal_ends_the_login_at_once_and_its_words_do_no_harm() {
    let Some((sign_on, mut browser)) = with_browser() else {
        return;
    };
    let desk = Desk::new(sign_on);
    let mut terminal = desk.log_in(&[]);
    let state = state_of(&desk.opened()).to_owned();
    let words = "%3C%2Fp%3E%3Cscript%3Edocument.title%3D%27pwned%27%3C%2Fscript%3E%1B%5B2J%E2%80%AE%0Aerror:+all+is+well";
    let query = format!("error=access_denied&error_description={words}&state={state}");
    browser.open(&desk.callback(&query)).unwrap();
    browser.wait_for("The login failed").unwrap();
    let text = browser.text().unwrap();
    assert!(
        text.contains("</p><script>document.title='pwned'</script>\\x1b[2J"),
        "{text}"
    );
    assert_eq!(terminal.end().unwrap().code(), Some(77));
    let shown = terminal.shown();
    assert!(
        shown.contains("\\x1b[2J\\u202e\\nerror: all is well (access_denied)"),
        "{shown}"
    );
    assert!(
        !shown.contains("\u{1b}[2J") && !shown.contains('\u{202e}'),
        "{shown}"
    );
    for scheme in ["light", "dark"] {
        browser.prefers(scheme).unwrap();
        let picture = picture(&desk, &format!("refused-{scheme}"));
        browser.screenshot(&picture).unwrap();
    }
    assert_ne!(browser.evaluate("document.title").unwrap(), "pwned");
    desk.has_no_token();
}

#[test]
fn a_closed_browser_does_not_end_the_login() {
    let Some((sign_on, mut browser)) = with_browser() else {
        return;
    };
    let password = sign_on.account("sso-carl", &["vctl-admins"]);
    let desk = Desk::new(sign_on);
    let mut terminal = desk.log_in(&[]);
    let address = desk.opened();
    browser.open(&address).unwrap();
    browser.wait_for("Sign In").unwrap();
    drop(browser);
    // The terminal still shows the address, and the address also works in another browser.
    let mut browser = Browser::or_skip().unwrap();
    browser.open(&shown_address(&mut terminal)).unwrap();
    log_in_at_the_provider(&mut browser, "sso-carl", &password);
    browser.wait_for("You are logged in").unwrap();
    assert!(terminal.end().unwrap().success(), "{}", terminal.shown());
    desk.has_token_of("sso-carl", &["vctl-admin", "vctl-auditor", "vctl-ssh"]);

    // Ctrl-C ends a login.
    let mut terminal = desk.log_in(&[]);
    terminal.wait_for("state=").unwrap();
    terminal.type_in("\u{3}").unwrap();
    assert_eq!(terminal.end().unwrap().code(), Some(130));
    desk.has_token_of("sso-carl", &["vctl-admin", "vctl-auditor", "vctl-ssh"]);
}

fn with_browser() -> Option<(&'static SignOn, Browser)> {
    Some((SignOn::shared()?, Browser::or_skip()?))
}

/// Returns the file for a picture. The variable `VCTL_TEST_PICTURES` names a directory that keeps the pictures.
fn picture(desk: &Desk, name: &str) -> PathBuf {
    let directory = std::env::var_os("VCTL_TEST_PICTURES").map(PathBuf::from);
    let directory = directory.unwrap_or_else(|| desk.workstation.home(""));
    directory.join(format!("{name}.png"))
}
