//! A server answers with text that controls a terminal.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::thread;

use serde_json::json;
use vctl_tests::lab::{Programs, skip};

/// Answers every request with an error of Vault, and returns the port.
fn hostile_vault() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let body =
        json!({"errors": ["\u{1b}[2J\u{1b}]0;owned\u{7}\u{202e}\u{9b}31mno\r\nerror: done"]});
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.to_string().len()
    );
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 16384];
            if stream.read(&mut request).is_ok() {
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
    port
}

#[test]
fn an_error_of_vault_reaches_no_terminal_as_it_is() {
    let programs = match Programs::find() {
        Ok(programs) => programs,
        Err(error) => return skip(&format!("{error:#}")),
    };
    let addr = format!("http://127.0.0.1:{}", hostile_vault());
    let home = tempfile::tempdir().unwrap();
    let commands: [&[&str]; 9] = [
        &["list"],
        &["fleet"],
        &["audit"],
        &["session", "--list"],
        &["ssh", "web-1", "--", "true"],
        &["host", "enroll", "web-1"],
        &["host", "revoke", "web-1"],
        &["migrate"],
        &["doctor"],
    ];
    let mut quoted = 0;
    for arguments in commands {
        let output = Command::new(&programs.vctl)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", home.path())
            .env("VCTL_VAULT_ADDR", &addr)
            .env("VCTL_DB_HOST", "127.0.0.1")
            .env("VAULT_TOKEN", "s.hostile")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!said.contains(obeyed), "{arguments:?}: {said:?}");
        assert!(!said.lines().any(|line| line == "error: done"), "{said}");
        quoted += usize::from(said.contains("\\x1b[2J"));
    }
    assert!(quoted > 1, "only {quoted} commands showed the text");
}
