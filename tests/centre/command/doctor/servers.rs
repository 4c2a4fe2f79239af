//! Faults of a server, its certificate, its schema or a clock.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use vctl_tests::centre::{Centre, DB_NAME, Options, Request, ServerCertificate};
use vctl_tests::lab::{eventually, skip};

use super::Patient;
use crate::fixture::programs::stderr;

const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

#[test]
fn a_silent_server_differs_from_a_wrong_one() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let patient = Patient::person(centre, "unheard");
    // The first packet gets no answer.
    let full = BlackHole::new();
    let found = patient.assert_fails(&[("VCTL_DB_PORT", &full.port.to_string())], "db tcp", 69);
    assert!(found.contains("does not answer within"), "{found}");
    // This server accepts the connection and sends nothing.
    let tarpit = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = format!("https://{}", tarpit.local_addr().unwrap());
    let found = patient.assert_fails(&[("VCTL_VAULT_ADDR", &address)], "vault tls", 69);
    assert!(found.contains("then sent nothing"), "{found}");
    // Postgres answers like this if `ssl` is off.
    let plain = responder(b"N");
    let found = patient.assert_fails(&[("VCTL_DB_PORT", &plain.to_string())], "db tls", 69);
    assert!(found.contains("does not offer TLS"), "{found}");
    let page = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\n<html></html>";
    let address = format!("http://127.0.0.1:{}", responder(page));
    let found = patient.assert_fails(&[("VCTL_VAULT_ADDR", &address)], "vault seal", 78);
    assert!(found.contains("is not Vault"), "{found}");
}

#[test]
fn an_untrusted_certificate_is_shown() {
    let Some(centre) = Centre::or_skip(&Options::default()) else {
        return;
    };
    let patient = Patient::root(&centre);
    let issue = |name: &str, request: Request<'_>| centre.pki.issue(name, request).unwrap();
    let expired = |names: &'static [&'static str]| Request {
        names,
        expired: true,
        ..Request::default()
    };
    let other = Request {
        names: &["elsewhere.example"],
        ..Request::default()
    };
    let vault = |certificate: &ServerCertificate| {
        centre.bao.use_certificate(certificate).unwrap();
        uses(&patient, "vault tls")
    };
    assert!(
        vault(&issue("expired", expired(&["127.0.0.1"]))).contains("has expired, at 2021-01-01")
    );
    assert!(vault(&issue("other", other)).contains("for another name, `elsewhere.example`"));
    let good = Request {
        names: &["127.0.0.1", "localhost"],
        ..Request::default()
    };
    centre.bao.use_certificate(&issue("good", good)).unwrap();
    let well = || Ok(patient.examined(&[]).with("fail").is_empty());
    assert!(eventually(Duration::from_secs(10), well).unwrap());
    centre
        .postgres
        .use_certificate(&issue("db-expired", expired(&[DB_NAME])))
        .unwrap();
    assert!(uses(&patient, "db tls").contains("has expired, at 2021-01-01"));
}

/// Waits until the server uses its new certificate, and returns the message about it.
fn uses(patient: &Patient<'_>, probe: &str) -> String {
    static LAST: std::sync::Mutex<String> = std::sync::Mutex::new(String::new());
    let mut last = LAST.lock().unwrap();
    let changed = || {
        let examined = patient.examined(&[]);
        let found = examined.probe(probe)["found"].as_str().unwrap().to_owned();
        let fails = examined.with("fail") == [probe] && found != *last;
        if fails {
            assert_eq!(examined.code, Some(69));
            (*last).clone_from(&found);
        }
        Ok(fails)
    };
    assert!(eventually(Duration::from_secs(10), changed).unwrap());
    last.clone()
}

#[test]
fn a_sealed_vault_and_a_stopped_postgres_are_named() {
    let Some(centre) = Centre::or_skip(&Options::default()) else {
        return;
    };
    let patient = Patient::root(&centre);
    centre.bao.seal().unwrap();
    let found = patient.assert_fails(&[], "vault seal", 69);
    assert!(found.contains("sealed"), "{found}");
    centre.bao.unseal().unwrap();
    centre.postgres.stop().unwrap();
    patient.assert_fails(&[], "db tcp", 69);
    centre.postgres.start().unwrap();
    assert_eq!(patient.examined(&[]).code, Some(0));
}

#[test]
fn a_schema_that_is_missing_or_too_old_is_named() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let patient = Patient::person(centre, "schema");
    centre.postgres.create_database("doctor_empty").unwrap();
    let found = patient.assert_fails(&[("VCTL_DB_NAME", "doctor_empty")], "schema", 78);
    assert!(found.contains("no vctl schema"), "{found}");
    centre.create_database_with_schema("doctor_old").unwrap();
    let old = [("VCTL_DB_NAME", "doctor_old")];
    assert_eq!(patient.examined(&old).code, Some(0));
    let forget = "delete from vctl.schema_migration where version = (select max(version) from vctl.schema_migration)";
    centre.postgres.psql("doctor_old", forget).unwrap();
    let found = patient.assert_fails(&old, "schema", 78);
    assert!(found.contains("this vctl needs"), "{found}");
}

#[test]
fn a_clock_that_is_wrong_is_this_machines_and_not_postgres() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    if !Path::new(FAKETIME).exists() {
        skip("libfaketime is not installed (`faketime` on Debian)");
        return;
    }
    let patient = Patient::person(centre, "late");
    for (offset, said) in [("+600", "ahead of"), ("-600", "behind")] {
        let fake = [
            ("LD_PRELOAD", FAKETIME),
            ("FAKETIME", offset),
            // The fake clock must not change timeouts.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        let found = patient.assert_fails(&fake, "clock", 78);
        assert!(found.contains(said), "{found}");
    }
}

#[test]
fn a_probe_is_shown_when_it_is_made_and_not_in_the_end() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let patient = Patient::person(centre, "watcher");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let (shown, was_shown) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // The server answers only after the earlier text was visible.
            if stream.read(&mut [0; 8]).unwrap_or(0) > 0 && was_shown.recv().is_ok() {
                let _ = stream.write_all(b"N");
            }
        }
    });
    let mut command = patient.command(&[("VCTL_DB_PORT", &port)], &["doctor"]);
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let last = lines.by_ref().find(|line| line.contains("db tcp"));
    assert!(last.unwrap().starts_with("pass"));
    shown.send(()).unwrap();
    let rest: Vec<String> = lines.collect();
    assert!(rest[0].starts_with("FAIL  db tls"), "{rest:?}");
    assert!(rest[0].contains("does not offer TLS"), "{rest:?}");
    assert!(rest[1].trim_start().starts_with("fix: "), "{rest:?}");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert_eq!(stderr(&output), "error: `db tls` fails\n");
}

/// A port with a full queue: the kernel drops each new connection, because no process accepts the old ones.
struct BlackHole {
    port: u16,
    _listener: std::os::fd::OwnedFd,
    _waiting: Vec<TcpStream>,
}

impl BlackHole {
    fn new() -> Self {
        use nix::sys::socket::{
            AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen,
            socket,
        };
        use std::os::fd::AsRawFd as _;
        let kind = (
            AddressFamily::Inet,
            SockType::Stream,
            SockFlag::SOCK_CLOEXEC,
        );
        let listener = socket(kind.0, kind.1, kind.2, None).unwrap();
        bind(listener.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let port = getsockname::<SockaddrIn>(listener.as_raw_fd())
            .unwrap()
            .port();
        let mut waiting = Vec::new();
        let address = (Ipv4Addr::LOCALHOST, port).into();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            waiting.push(stream);
        }
        Self {
            port,
            _listener: listener,
            _waiting: waiting,
        }
    }
}

/// Starts a server that gives the same answer to all clients. The server ends with the process.
fn responder(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            // A client that only tests the port sends nothing.
            if stream.read(&mut request).unwrap_or(0) > 0 {
                let _ = stream.write_all(answer);
            }
        }
    });
    port
}
