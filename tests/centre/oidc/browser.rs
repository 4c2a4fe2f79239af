//! The browser goes there and comes back.

use vctl_tests::browser::Browser;

use super::{Desk, SignOn, log_in_at_the_provider};

#[test]
fn a_person_logs_in_with_the_browser() {
    let Some(sign_on) = SignOn::shared() else {
        return;
    };
    let Some(mut browser) = Browser::or_skip() else {
        return;
    };
    let password = sign_on.account("oidc-albert", &["vctl-ssh-users"]);
    let desk = Desk::new(sign_on);
    let mut terminal = desk.log_in(&[]);
    browser.open(&desk.address()).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(8));
    eprintln!("{} {}", browser.address().unwrap(), browser.text().unwrap());
    eprintln!(
        "{}",
        browser
            .evaluate("document.body.innerHTML")
            .unwrap()
            .as_str()
            .unwrap()
    );
    log_in_at_the_provider(&mut browser, "oidc-albert", &password);
    std::thread::sleep(std::time::Duration::from_secs(5));
    eprintln!("{} {}", browser.address().unwrap(), browser.text().unwrap());
    eprintln!("{}", terminal.shown());
    assert!(terminal.end().unwrap().success(), "{}", terminal.shown());
}
