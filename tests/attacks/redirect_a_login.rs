//! The attacker writes `.vctl/config.yaml` into a directory, and wants to get a login that a user starts there.

use super::desk::{Desk, FakeVault};

const PERSON: &str = r#"{"data":{"display_name":"userpass-ann","policies":["default"],"ttl":3600,"creation_ttl":3600,"accessor":"a","renewable":false,"meta":null,"path":"","id":"","num_uses":0,"orphan":true,"entity_id":"","type":"service"},"auth":{"client_token":"hvs.given","accessor":"a","policies":["default"],"token_policies":["default"],"lease_duration":3600,"renewable":false,"metadata":null,"entity_id":"","token_type":"service","orphan":true},"errors":null}"#;

fn vault(request: &str) -> (u16, String) {
    match request {
        // A mix-up attack starts with this answer: the address of a provider that the user knows.
        "PUT /v1/auth/oidc/oidc/auth_url" => (
            200,
            r#"{"data":{"auth_url":"https://gitlab.example/oauth?state=st_REAL&nonce=n"}}"#
                .to_owned(),
        ),
        _ => (200, PERSON.to_owned()),
    }
}

#[test]
fn an_untrusted_directory_redirects_no_login() {
    let (own, evil) = (FakeVault::start(vault), FakeVault::start(vault));
    let desk = Desk::new(&format!("vault_addr: {}\nusername: ann\n", own.addr));
    let addr = format!("vault_addr: {}\n", evil.addr);
    for (text, key) in [
        (&*addr, "vault_addr"),
        ("vault_namespace: evil\n", "vault_namespace"),
        ("oidc_mount: evil\n", "oidc_mount"),
        ("oidc_role: evil\n", "oidc_role"),
        ("oidc_callback_port: 8251\n", "oidc_callback_port"),
        ("userpass_mount: evil\n", "userpass_mount"),
        ("username: eve\n", "username"),
        ("auth_method: approle\n", "auth_method"),
        ("approle_mount: evil\n", "approle_mount"),
        ("role_id_file: /evil\n", "role_id_file"),
    ] {
        desk.directory_says(text);
        for args in [
            &["login", "--method", "oidc", "--no-browser"][..],
            &["login"],
            &["token"],
        ] {
            let mut terminal = desk.before_a_person(args);
            assert_eq!(terminal.end().unwrap().code(), Some(78), "{key}, {args:?}");
            let shown = terminal.shown();
            assert!(
                shown.contains(&format!("`{key}` decides")) && shown.contains("vctl config trust"),
                "{key}, {args:?}: {shown}"
            );
        }
        for args in [
            &["login", "--password-stdin"][..],
            &["login", "--token-stdin"],
        ] {
            let said = desk.given(args, "secret\n");
            assert_eq!(said.code, 78, "{key}, {args:?}: {}", said.stderr);
        }
    }
    assert_eq!(own.asked().len() + evil.asked().len(), 0);
}

#[test]
fn a_login_names_its_server_before_it_is_asked() {
    let own = FakeVault::start(|_| (400, r#"{"errors":["no"]}"#.to_owned()));
    let desk = Desk::new(&format!("vault_addr: {}\n", own.addr));
    let login = ["login", "--username", "ann", "--password-stdin"];
    let named = format!("logging in to {} as ann (userpass)", own.addr);
    let said = desk.given(&login, "secret\n");
    assert_ne!(said.code, 0);
    assert_eq!(said.stderr.lines().next(), Some(&*named));
    let said = desk.given(
        &[&login[..], &["--vault-namespace", "team"]].concat(),
        "secret\n",
    );
    assert!(
        said.stderr
            .starts_with(&format!("{named}, namespace `team`\n")),
        "{}",
        said.stderr
    );
    let mut command = desk.command(&["login", "--token-stdin"]);
    let output = command
        .env("VCTL_VAULT_ADDR", "http://127.0.0.1:1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() != Some(0) && !said.contains("logging in"),
        "{said}"
    );
}

/// Neighbour: the user trusts the file, and the login still names the server that the directory sets.
#[test]
fn a_login_to_a_directorys_server_names_the_file() {
    let (own, theirs) = (FakeVault::start(vault), FakeVault::start(vault));
    let desk = Desk::new(&format!("vault_addr: {}\n", own.addr));
    desk.directory_says(&format!("oidc_role: vctl\nvault_addr: {}\n", theirs.addr));
    assert_eq!(desk.run(&["config", "trust", "--yes"]).code, 0);
    let port = vctl_tests::centre::free_port().unwrap().to_string();
    let mut terminal = desk.before_a_person(&["login", "--no-browser", "--callback-port", &port]);
    terminal.wait_for("https://gitlab.example/oauth").unwrap();
    let shown = terminal.shown();
    let named = format!(
        "logging in to {} (oidc), set by .vctl/config.yaml:2",
        theirs.addr
    );
    let (at, provider) = (shown.find(&named), shown.find("gitlab"));
    assert!(at.is_some() && at < provider, "{shown}");
    terminal.type_in("\x03").unwrap();
    terminal.end().unwrap();
    assert!(own.asked().is_empty());
}

/// Neighbour: a command that logs in by itself also names the server.
#[test]
fn a_login_that_begins_by_itself_names_its_server() {
    let own = FakeVault::start(vault);
    let desk = Desk::new(&format!(
        "vault_addr: {}\nauth_method: userpass\nusername: ann\n",
        own.addr
    ));
    let mut terminal = desk.before_a_person(&["token"]);
    terminal.wait_for("Password of ann").unwrap();
    let shown = terminal.shown();
    let named = format!("logging in to {} as ann (userpass)", own.addr);
    assert!(shown.contains(&named), "{shown}");
    assert!(own.asked().is_empty());
    terminal.type_in("\x03").unwrap();
    terminal.end().unwrap();
}
