//! Each fault of a server has its own error, and does not create a credential.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use serde_json::json;
use vctl_common::centre::{DbRole, DbSettings, VaultSettings};
use vctl_common::pg::{PgError, Pool, PoolLimits};
use vctl_common::secret::Secret;
use vctl_common::tls::{TlsProblem, Trust};
use vctl_common::vault::{Auth, SecretIdSource, Vault, VaultError};
use vctl_tests::centre::{Centre, DB_NAME, Options, Request, VAULT_NAME};
use vctl_tests::lab::eventually;

use vctl_tests::pool_fixture::{as_root, block_on, db_settings, logins, pool_of, vault_settings};

/// Tries to connect, and returns the error.
fn refusal(vault: &Vault, settings: &DbSettings, role: DbRole) -> PgError {
    let pool = Pool::new(vault.clone(), settings, role, PoolLimits::default()).unwrap();
    block_on(async {
        let refused = pool.get().await.err().expect("a connection");
        pool.close().await;
        refused
    })
}

/// Sends a request to Vault, and returns the error.
fn no_answer(settings: &VaultSettings) -> VaultError {
    let auth = Auth::Token(Secret::new("t".to_owned()));
    let vault = Vault::connect(settings, auth).unwrap();
    block_on(vault.db_credentials(&DbRole::Ro)).unwrap_err()
}

fn problem(error: &PgError) -> TlsProblem {
    match error {
        PgError::Tls { problem, .. } => *problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_untrusted_database_gets_no_password() {
    let Some(centre) = Centre::or_skip(&Options::default()) else {
        return;
    };
    let vault = as_root(&centre);
    let settings = db_settings(&centre);
    let wrong_ca = DbSettings {
        trust: Trust::File(centre.pki.stranger().to_owned()),
        ..settings.clone()
    };
    let error = refusal(&vault, &wrong_ca, DbRole::Ro);
    assert_eq!(problem(&error), TlsProblem::Authority);
    assert!(error.hint().unwrap().contains("VCTL_DB_CA_CERT"));
    let wrong_name = DbSettings {
        server_name: Some(VAULT_NAME.to_owned()),
        ..settings.clone()
    };
    let error = refusal(&vault, &wrong_name, DbRole::Ro);
    assert_eq!(problem(&error), TlsProblem::Name);
    assert!(error.hint().unwrap().contains("VCTL_DB_SERVERNAME"));
    let expired = Request {
        names: &[DB_NAME],
        expired: true,
        ..Request::default()
    };
    let certificate = centre.pki.issue("expired", expired).unwrap();
    centre.postgres.use_certificate(&certificate).unwrap();
    let seen = || {
        let error = refusal(&vault, &settings, DbRole::Ro);
        Ok(matches!(
            error,
            PgError::Tls {
                problem: TlsProblem::Expired,
                ..
            }
        ))
    };
    assert!(eventually(Duration::from_secs(10), seen).unwrap());
}

#[test]
fn an_untrusted_server_leaves_no_login_behind() {
    let Some(centre) = Centre::or_skip(&Options::default()) else {
        return;
    };
    let vault = as_root(&centre);
    let wrong_ca = DbSettings {
        trust: Trust::File(centre.pki.stranger().to_owned()),
        ..db_settings(&centre)
    };
    for _ in 0..3 {
        refusal(&vault, &wrong_ca, DbRole::Ro);
    }
    assert!(eventually(Duration::from_secs(10), || Ok(logins(&centre).is_empty())).unwrap());
}

#[test]
fn a_database_without_tls_is_refused() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    // Postgres answers an SSLRequest like this if `ssl` is off.
    let port = responder(|_| b"N".to_vec());
    let settings = DbSettings {
        port,
        ..db_settings(centre)
    };
    let error = refusal(&as_root(centre), &settings, DbRole::Ro);
    assert!(matches!(error, PgError::Plaintext { .. }), "{error:?}");
}

#[test]
fn a_silent_server_is_given_up_in_time() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let vault = as_root(centre);
    let limit = Duration::from_secs(1);
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let settings = DbSettings {
        port,
        connect_timeout: limit,
        ..db_settings(centre)
    };
    let start = Instant::now();
    let error = refusal(&vault, &settings, DbRole::Ro);
    assert!(matches!(error, PgError::Timeout { .. }), "{error:?}");
    let mut vault_settings = vault_settings(centre);
    vault_settings.addr = format!("https://127.0.0.1:{port}");
    vault_settings.timeout = limit;
    let error = no_answer(&vault_settings);
    assert!(matches!(error, VaultError::Timeout { .. }), "{error:?}");
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    drop(silent);
    let error = refusal(&vault, &settings, DbRole::Ro);
    assert!(matches!(error, PgError::Unreachable { .. }) && error.is_retryable());
    let error = no_answer(&vault_settings);
    assert!(matches!(error, VaultError::Unreachable { .. }) && error.is_retryable());
}

#[test]
fn an_untrusted_vault_gets_no_token() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let tls = |settings: &VaultSettings| match no_answer(settings) {
        VaultError::Tls { problem, .. } => problem,
        other => panic!("{other:?}"),
    };
    let mut settings = vault_settings(centre);
    settings.trust = Trust::File(centre.pki.stranger().to_owned());
    assert_eq!(tls(&settings), TlsProblem::Authority);
    let mut settings = vault_settings(centre);
    settings.addr = format!(
        "https://127.0.0.1:{}",
        responder(|_| b"HTTP/1.1 200 OK\r\n\r\n".to_vec())
    );
    assert_eq!(tls(&settings), TlsProblem::NoTls);
}

#[test]
fn a_sealed_vault_is_reported_as_sealed() {
    let Some(centre) = Centre::or_skip(&Options::default()) else {
        return;
    };
    let vault = as_root(&centre);
    block_on(async {
        let pool = pool_of(&centre, &vault, DbRole::Ro).unwrap();
        drop(pool.get().await.unwrap());
        centre.bao.seal().unwrap();
        // Existing connections still work.
        let client = pool.get().await.unwrap();
        client.query_one("select 1", &[]).await.unwrap();
        client.discard();
        let error = pool.get().await.err().unwrap();
        let sealed = matches!(error, PgError::Credential(VaultError::Sealed { .. }));
        assert!(sealed && error.is_retryable(), "{error:?}");
        centre.bao.unseal().unwrap();
        drop(pool.get().await.unwrap());
        pool.close().await;
    });
}

#[test]
fn a_refusal_names_the_policy_that_would_allow_it() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let person = centre.person("reader", &["vctl-user"]).unwrap();
    let token = person.get("auth/token/lookup-self").unwrap();
    let token = Secret::new(token["data"]["id"].as_str().unwrap().to_owned());
    let vault = Vault::connect(&vault_settings(centre), Auth::Token(token)).unwrap();
    let error = refusal(&vault, &db_settings(centre), DbRole::AuditRo);
    assert!(
        matches!(error, PgError::Credential(VaultError::Denied { .. })),
        "{error:?}"
    );
    assert!(error.hint().unwrap().contains("`vctl-auditor`"));
    person.post("auth/token/revoke-self", &json!({})).unwrap();
    let error = refusal(&vault, &db_settings(centre), DbRole::Ro);
    assert!(
        matches!(error, PgError::Credential(VaultError::TokenInvalid)),
        "{error:?}"
    );
}

#[test]
fn a_login_that_vault_refuses_is_an_error() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let auth = Auth::AppRole {
        mount: "approle".to_owned(),
        role_id: Secret::new("nobody".to_owned()),
        secret_id: SecretIdSource::Value(Secret::new("nothing".to_owned())),
    };
    let vault = Vault::connect(&vault_settings(centre), auth).unwrap();
    let error = block_on(vault.ensure_valid()).unwrap_err();
    assert!(
        matches!(error, VaultError::LoginRefused { .. }) && !error.is_retryable(),
        "{error:?}"
    );
}

#[test]
fn a_rate_limit_of_vault_is_not_a_refusal() {
    let answer = |status: &str, body: &str| {
        let answer = format!(
            "HTTP/1.1 {status}\r\nRetry-After: 7\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let port = responder(move |_| answer.clone().into_bytes());
        no_answer(&VaultSettings::new(format!("http://127.0.0.1:{port}")))
    };
    let error = answer(
        "429 Too Many Requests",
        "{\"errors\":[\"request path: rate limit\"]}",
    );
    assert!(
        matches!(error, VaultError::RateLimited { .. }) && error.is_retryable(),
        "{error:?}"
    );
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    let error = answer("503 Service Unavailable", "<html>upstream</html>");
    assert!(
        matches!(error, VaultError::Http { status: 503, .. }) && error.is_retryable(),
        "{error:?}"
    );
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    let error = answer(
        "503 Service Unavailable",
        "{\"errors\":[\"Vault is sealed\"]}",
    );
    assert!(matches!(error, VaultError::Sealed { .. }), "{error:?}");
    let error = answer("200 OK", "surprise");
    assert!(
        matches!(error, VaultError::Answer { .. }) && !error.is_retryable(),
        "{error:?}"
    );
}

#[test]
fn no_token_is_sent_to_where_a_server_without_tls_sends_us() {
    let port = responder(|request| {
        assert!(!request.starts_with("GET /v1/elsewhere"), "followed");
        let to = "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/v1/elsewhere\r\n";
        format!("{to}Connection: close\r\nContent-Length: 0\r\n\r\n").into_bytes()
    });
    let error = no_answer(&VaultSettings::new(format!("http://127.0.0.1:{port}")));
    assert!(
        matches!(error, VaultError::Http { status: 307, .. }),
        "{error:?}"
    );
}

/// Starts a server that gives the same answer to all clients. The server ends with the process.
fn responder(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let n = stream.read(&mut request).unwrap_or(0);
            let answer = answer(&String::from_utf8_lossy(&request[..n]));
            // The client may have closed the connection.
            let _ = stream.write_all(&answer);
        }
    });
    port
}
