//! A provider that answers with a POST (`response_mode=form_post`).

use super::listener::ask;
use super::{Desk, SignOn, shown_address, state_of};

/// Posts this body to the callback address, and returns the answer.
fn post(desk: &Desk, kind: &str, body: &str) -> String {
    let request = format!(
        "POST /oidc/callback HTTP/1.1\r\nHost: localhost:{}\r\nContent-Type: {kind}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        desk.port,
        body.len()
    );
    ask(&format!("127.0.0.1:{}", desk.port), &request)
}

const FORM: &str = "application/x-www-form-urlencoded";

#[test]
fn each_posted_answer_ends_the_login_with_a_reason() {
    let Some(sign_on) = SignOn::shared() else {
        return;
    };
    for (kind, rest, code, says) in [
        (FORM, "code=made-up", 77, "Vault refuses the login"),
        (
            "Application/X-WWW-Form-Urlencoded; charset=UTF-8",
            "code=made-up&scope=openid",
            77,
            "Vault refuses the login",
        ),
        (
            FORM,
            "error=access_denied&error_description=not+in+the+group",
            77,
            "not in the group (access_denied)",
        ),
        (FORM, "id_token=x", 1, "neither `code` nor `error`"),
        (FORM, "code=a&code=b", 1, "is duplicated"),
    ] {
        let desk = Desk::new(sign_on);
        let mut terminal = desk.log_in(&[]);
        let state = state_of(&shown_address(&mut terminal)).to_owned();
        let answer = post(&desk, kind, &format!("{rest}&state={state}"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{rest}: {answer}");
        assert!(answer.contains("The login failed"), "{rest}: {answer}");
        let ended = terminal.end().unwrap().code();
        let shown = terminal.shown();
        assert_eq!(ended, Some(code), "{rest}: {shown}");
        assert!(shown.contains(says), "{rest}: {shown}");
    }
}

#[test]
fn a_posted_answer_of_another_login_changes_nothing() {
    let Some(sign_on) = SignOn::shared() else {
        return;
    };
    let desk = Desk::new(sign_on);
    let mut terminal = desk.log_in(&[]);
    let state = state_of(&shown_address(&mut terminal)).to_owned();
    let ours = format!("error=access_denied&state={state}");
    let long = format!("{ours}&x={}", "x".repeat(40_000));
    for (kind, body) in [
        (FORM, "error=access_denied&state=another"),
        (FORM, "error=access_denied"),
        (FORM, ""),
        ("multipart/form-data; boundary=x", ours.as_str()),
        ("text/plain", &ours),
        ("application/json", &ours),
        (FORM, &long),
    ] {
        let answer = post(&desk, kind, body);
        assert!(answer.starts_with("HTTP/1.1 400"), "{kind}: {answer}");
    }
    super::listener::is_still_there(&desk, &mut terminal);
}
