//! The callback listener of vctl: which requests it accepts during a login, and which it refuses.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::json;
use vctl_tests::terminal::Terminal;

use super::{Desk, SignOn, shown_address, state_of};

/// Sends this request and returns the whole answer.
pub(super) fn ask(address: &str, request: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // If the client sends too much, vctl closes the connection after the answer.
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Ends a login with a refusal from the provider. The refusal needs the state of the login too.
pub(super) fn is_still_there(desk: &Desk, terminal: &mut Terminal) {
    let state = state_of(&shown_address(terminal)).to_owned();
    let path = format!("/oidc/callback?error=server_error&state={state}");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost:{}\r\n\r\n",
        desk.port
    );
    let answer = ask(&format!("127.0.0.1:{}", desk.port), &request);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("</html>\n"), "{answer}");
    assert_eq!(
        terminal.end().unwrap().code(),
        Some(77),
        "{}",
        terminal.shown()
    );
}

#[test]
fn only_the_way_back_is_answered() {
    let Some(sign_on) = SignOn::shared() else {
        return;
    };
    let desk = Desk::new(sign_on);
    let mut terminal = desk.log_in(&[]);
    let address = shown_address(&mut terminal);
    let good = format!(
        "/oidc/callback?error=access_denied&state={}",
        state_of(&address)
    );
    let four = format!("127.0.0.1:{}", desk.port);
    let long = "x".repeat(200_000);
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 404),
        (
            "GET /favicon.ico HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
            404,
        ),
        (
            format!("GET /oidc/callback/..{good} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            404,
        ),
        (
            format!(
                "GET /OIDC/callback{} HTTP/1.1\r\nHost: localhost\r\n\r\n",
                &good[14..]
            ),
            404,
        ),
        (
            format!("POST {good} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"),
            400,
        ),
        (
            format!("HEAD {good} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            400,
        ),
        // A foreign name that resolves to this machine.
        (
            format!(
                "GET {good} HTTP/1.1\r\nHost: evil.example:{}\r\n\r\n",
                desk.port
            ),
            404,
        ),
        (
            format!("GET {good} HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n"),
            404,
        ),
        (
            format!("GET {good} HTTP/1.1\r\nHost: 127.0.0.1@evil.example\r\n\r\n"),
            404,
        ),
        (
            format!("GET http://evil.example{good} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            404,
        ),
        (format!("GET {good} HTTP/1.1\r\n\r\n"), 404),
        (
            format!("GET {good} HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n"),
            431,
        ),
        (
            format!("GET {good}{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            431,
        ),
        ("\u{16}\u{3}\u{1}\u{2}\r\n\r\n".to_owned(), 400),
    ] {
        let answer = ask(&four, &request);
        let begin = &request[..request.len().min(200)];
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{begin}: {answer}"
        );
    }
    let answer = ask(&four, "GET / HTTP/1.1\r\nHost: [::1]:1\r\n\r\n").to_lowercase();
    for header in [
        "content-security-policy: default-src 'none'; style-src 'sha256-",
        "cache-control: no-store",
        "referrer-policy: no-referrer",
        "x-content-type-options: nosniff",
        "connection: close",
    ] {
        assert!(
            answer.contains(&format!("\r\n{header}")),
            "{header}: {answer}"
        );
    }
    // More connections than vctl serves at a time. They all stay silent.
    let silent: Vec<_> = (0..40)
        .map(|_| TcpStream::connect(&four).unwrap())
        .collect();
    is_still_there(&desk, &mut terminal);
    drop(silent);
    desk.has_no_token();
}

#[test]
fn both_addresses_of_localhost_are_listened_on() {
    let Some(sign_on) = SignOn::shared() else {
        return;
    };
    let desk = Desk::new(sign_on);
    let mut terminal = desk.log_in(&[]);
    terminal.wait_for("state=").unwrap();
    let mut addresses = vec![format!("127.0.0.1:{}", desk.port)];
    if TcpListener::bind("[::1]:0").is_ok() {
        addresses.push(format!("[::1]:{}", desk.port));
    }
    for address in addresses {
        let answer = ask(
            &address,
            &format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n"),
        );
        assert!(answer.contains("Not found"), "{address}: {answer}");
    }
    is_still_there(&desk, &mut terminal);
}

#[test]
fn a_port_that_is_taken_is_named_before_any_browser_opens() {
    let Some(sign_on) = SignOn::shared() else {
        return;
    };
    for address in ["127.0.0.1", "[::1]"] {
        let desk = Desk::new(sign_on);
        let Ok(_taken) = TcpListener::bind(format!("{address}:{}", desk.port)) else {
            // This machine has no IPv6.
            continue;
        };
        let mut terminal = desk.log_in(&[]);
        assert_eq!(terminal.end().unwrap().code(), Some(75));
        let shown = terminal.shown();
        for said in [
            &*format!("port {}", desk.port),
            "--callback-port",
            "--no-browser",
        ] {
            assert!(shown.contains(said), "{said}: {shown}");
        }
        assert!(!shown.contains("state="), "{shown}");
        assert!(!desk.has_opened());
        // Another port works if the role allows every port.
        let other = vctl_tests::centre::free_port().unwrap();
        let mut terminal = desk.log_in(&["--callback-port", &other.to_string()]);
        assert!(shown_address(&mut terminal).contains(&format!("localhost%3A{other}%2F")));
        let desk = Desk {
            port: other,
            ..desk
        };
        is_still_there(&desk, &mut terminal);
    }
}

#[test]
fn without_a_person_no_browser_opens() {
    let Some(sign_on) = SignOn::shared() else {
        return;
    };
    let desk = Desk::new(sign_on);
    for args in [
        &["login"][..],
        &["login", "--no-browser"],
        &["login", "--device"],
        &["token"],
    ] {
        let output = desk.command(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(77), "{args:?}: {said}");
        assert!(said.contains("`vctl login`"), "{args:?}: {said}");
    }
    let mut terminal = desk.log_in(&["--no-input"]);
    assert_eq!(terminal.end().unwrap().code(), Some(77));
    assert!(!desk.has_opened());
}

#[test]
fn an_unsupported_method_of_vault_is_named() {
    let Some(sign_on) = SignOn::shared() else {
        return;
    };
    let desk = Desk::new(sign_on);
    let admin = sign_on.centre.bao.admin().unwrap();
    let role = json!({
        "role_type": "oidc",
        "user_claim": "preferred_username",
        "allowed_redirect_uris": ["https://vault.example.net/ui/vault/auth/oidc/oidc/callback"],
    });
    admin.post("auth/oidc/role/pages-only", &role).unwrap();
    admin
        .post("sys/auth/oidc-empty", &json!({"type": "oidc"}))
        .unwrap();
    for (args, mount, code, says) in [
        (
            &["--role", "pages-only"][..],
            "oidc",
            78,
            "`allowed_redirect_uris` of `auth/oidc/role/pages-only`",
        ),
        (&["--role", "nobodys"], "oidc", 78, "nobodys"),
        (
            &["--role", "vctl-device"],
            "oidc",
            78,
            "does not support login from another device",
        ),
        (&["--device"], "oidc", 78, "`callback_mode=device`"),
        (&[], "nowhere", 78, "VCTL_OIDC_MOUNT"),
        (&[], "oidc-empty", 78, "`auth/oidc-empty/config`"),
    ] {
        let mut command = desk.command(&[&["login"], args].concat());
        command.env("VCTL_OIDC_MOUNT", mount);
        let mut terminal = Terminal::start(command, 300).unwrap();
        let ended = terminal.end().unwrap().code();
        let shown = terminal.shown();
        assert_eq!(ended, Some(code), "{args:?}: {shown}");
        assert!(shown.contains(says), "{args:?}: {shown}");
        assert!(!desk.has_opened());
    }
}
