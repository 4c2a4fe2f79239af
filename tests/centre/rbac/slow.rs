//! A login to an address while Postgres is slow: cached grants permit it at once, and otherwise vctl waits.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use vctl_tests::centre::Centre;

use super::{ADMIN, PLAIN, User, knows, narrowed};

/// Longer than vctl waits for the signing mount of an address.
const DELAY: Duration = Duration::from_millis(2500);

#[test]
fn a_slow_postgres_is_awaited_without_a_cached_grant() {
    let Some(centre) = narrowed() else { return };
    let admin = User::new(centre, "slow-admin", ADMIN);
    let user = User::new(centre, "slow", PLAIN);
    user.is_in(&admin, "slow", &["ssh"]);
    let host = centre.host.as_ref().unwrap();
    let address = format!("{}@127.0.0.1:{}", host.user(), host.port());
    knows(&user, centre, &[&format!("[127.0.0.1]:{}", host.port())]);
    let port = slow_postgres(centre).to_string();
    let log_in = || {
        let mut command = user.at.command(&["ssh", &address, "--", "true"]);
        let output = command.env("VCTL_DB_PORT", &port).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{errors}");
        errors
    };
    let file = user.at.home(".vctl/grants.json");
    let note = "using the grants that Postgres confirmed";
    fs::remove_file(&file).unwrap();
    let errors = log_in();
    assert!(!errors.contains(note), "{errors}");
    // The answer is cached, and so not awaited the next time.
    assert!(file.exists());
    let errors = log_in();
    assert!(errors.contains(note), "{errors}");
    // A grant may be newer than the cache, so a cache without it refuses nothing.
    let mut cached: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    cached["grants"] = json!([["slow", "exec"]]);
    fs::write(&file, cached.to_string()).unwrap();
    let errors = log_in();
    assert!(!errors.contains(note), "{errors}");
}

/// Returns the port of a relay to Postgres that is slow to connect.
fn slow_postgres(centre: &Centre) -> u16 {
    let target = centre.postgres.port;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // An error means that one side is gone.
            thread::spawn(move || -> io::Result<()> {
                thread::sleep(DELAY);
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, target))?;
                let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
                thread::spawn(move || io::copy(&mut from, &mut to));
                let (mut from, mut to) = (server, client);
                io::copy(&mut from, &mut to)?;
                to.shutdown(std::net::Shutdown::Both)
            });
        }
    });
    port
}
