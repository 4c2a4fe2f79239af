//! The serial in a row is the serial of the certificate that the host saw, even with many connections at once and with
//! other processes that ask the agent.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vctl_tests::centre::DATABASE;
use vctl_tests::lab::eventually;

use super::{BEFORE, Desk, PATIENCE, accepted, shared};
use crate::login::Said;

#[test]
fn many_at_once_to_one_host_each_have_their_own() {
    const MANY: usize = 6;
    let Some(centre) = shared() else { return };
    let desk = Desk::new(centre, "ossh-many");
    let host = centre.another_host("ossh-many").unwrap();
    desk.operator.knows("ossh-many-1", &host);
    desk.install();
    // Each connection waits until all are open, and prints its source port.
    let children: Vec<_> = (0..MANY)
        .map(|_| {
            let mut command = desk.command("ssh", &["ossh-many-1", "echo $SSH_CONNECTION; cat"]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    assert!(eventually(PATIENCE, || Ok(accepted(&host.log()).len() == MANY)).unwrap());
    let mut ports = Vec::new();
    for mut child in children {
        drop(child.stdin.take());
        let mut said = String::new();
        child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        ports.push(said.split(' ').nth(1).unwrap().to_owned());
    }
    let rows = desk.recorded("ossh-many-1", &host, MANY);
    // The two sides have the same serials, and each serial belongs to the right connection.
    for port in ports {
        let row = rows
            .iter()
            .find(|row| row["source_port"].as_u64() == port.parse().ok());
        let serial = &row.unwrap()["cert_serial"];
        let from = format!(" port {port} ");
        let log = host.log();
        let line = log
            .lines()
            .find(|line| line.starts_with("Accepted") && line.contains(&from));
        let line = line.unwrap();
        assert!(
            line.contains(&format!("(serial {serial})")),
            "{serial}: {line}"
        );
    }
}

#[test]
fn commands_of_one_connection_share_its_row() {
    let Some(centre) = shared() else { return };
    let desk = Desk::new(centre, "ossh-master");
    let host = centre.another_host("ossh-master").unwrap();
    desk.operator.knows("ossh-master-1", &host);
    desk.install();
    let path = desk.home("control");
    let path = format!("ControlPath={}", path.display());
    let master = [
        "-o",
        &path,
        "-o",
        "ControlMaster=auto",
        "-o",
        "ControlPersist=60",
        "ossh-master-1",
        "true",
    ];
    let mut command = desk.command("ssh", &master);
    // The master process would keep a pipe open.
    assert!(command.stderr(Stdio::null()).status().unwrap().success());
    for _ in 0..3 {
        let said = desk.ssh(&["-o", &path, "ossh-master-1", "echo again"]);
        assert_eq!((said.code, &*said.stdout), (0, "again\n"), "{said:?}");
    }
    // The access stays open as long as the connection, and not only until the end of the first command.
    let rows = desk.operator.accesses("ossh-master-1");
    assert_eq!((rows.len(), &rows[0]["result"]), (1, &"open".into()));
    let said = desk.ssh(&["-o", &path, "-O", "exit", "ossh-master-1"]);
    assert_eq!(said.code, 0, "{said:?}");
    desk.recorded("ossh-master-1", &host, 1);
}

#[test]
fn another_process_gets_nothing_from_the_agent() {
    let Some(centre) = shared() else { return };
    let desk = Desk::new(centre, "ossh-agent");
    let host = centre.another_host("ossh-agent").unwrap();
    desk.operator.knows("ossh-agent-1", &host);
    desk.install();
    let mut command = desk.command(
        "ssh",
        &["-A", "ossh-agent-1", "echo up; ssh-add -l; echo $?; cat"],
    );
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = [0; 3];
    child.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
    let socket = desk.home(".vctl/ssh/agent.sock");
    for entry in fs::read_dir(desk.home(".vctl/ssh")).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600, "{entry:?}");
    }
    assert_eq!(
        fs::metadata(desk.home(".vctl/ssh")).unwrap().mode() & 0o777,
        0o700
    );
    // Another process of the same user gets no key, because the host did not sign its connection.
    let listing = desk
        .operator
        .at
        .program("ssh-add", &["-L"])
        .env("SSH_AUTH_SOCK", &socket)
        .output();
    let said = Said::from(listing.unwrap());
    assert_eq!(
        (said.code, &*said.stdout),
        (1, "The agent has no identities.\n"),
        "{said:?}"
    );
    // The proxy's own socket gives no key without the signature either.
    let own = fs::read_dir(desk.home(".vctl/ssh"))
        .unwrap()
        .find_map(|entry| {
            let path = entry.unwrap().path();
            let is_socket = path
                .extension()
                .is_some_and(|extension| extension == "sock");
            (is_socket && path != socket).then_some(path)
        });
    let mut stream = UnixStream::connect(own.unwrap()).unwrap();
    stream.write_all(&[0, 0, 0, 1, 11]).unwrap();
    let mut answer = [0; 9];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [0, 0, 0, 5, 12, 0, 0, 0, 0]);
    // The forwarded agent on the host gives no key either.
    drop(child.stdin.take());
    let mut rest = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut rest)
        .unwrap();
    assert_eq!(rest, "The agent has no identities.\n1\n");
    assert!(child.wait().unwrap().success());
    desk.recorded("ossh-agent-1", &host, 1);
    // The proxy no longer listens on its socket.
    assert!(eventually(PATIENCE, || Ok(sockets(&desk) == 1)).unwrap());
}

fn sockets(desk: &Desk<'_>) -> usize {
    let entries = fs::read_dir(desk.home(".vctl/ssh")).unwrap();
    let is_socket = |path: std::path::PathBuf| path.extension().is_some_and(|end| end == "sock");
    entries
        .filter(|entry| is_socket(entry.as_ref().unwrap().path()))
        .count()
}

#[test]
fn a_switchboard_that_was_killed_is_started_again() {
    let Some(centre) = shared() else { return };
    let desk = Desk::new(centre, "ossh-killed");
    let host = centre.another_host("ossh-killed").unwrap();
    desk.operator.knows("ossh-killed-1", &host);
    desk.install();
    assert_eq!(desk.ssh(&["ossh-killed-1", "true"]).code, 0);
    let stream = UnixStream::connect(desk.home(".vctl/ssh/agent.sock")).unwrap();
    let peer = nix::sys::socket::getsockopt(&stream, nix::sys::socket::sockopt::PeerCredentials);
    kill(Pid::from_raw(peer.unwrap().pid()), Signal::SIGKILL).unwrap();
    drop(stream);
    // Several commands find at the same time that the switchboard is missing.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let said = desk.ssh(&["ossh-killed-1", "true"]);
                assert_eq!(said.code, 0, "{said:?}");
            });
        }
    });
    desk.recorded("ossh-killed-1", &host, 5);
}

#[test]
fn a_failed_connection_has_its_row() {
    let Some(centre) = shared() else { return };
    let desk = Desk::new(centre, "ossh-fails");
    let host = centre.another_host("ossh-fails").unwrap();
    desk.operator
        .inventory("ossh-fails-dial", "127.0.0.1", 1, "root");
    desk.operator
        .inventory("ossh-fails-key", "127.0.0.1", host.port(), host.user());
    desk.operator.knows("ossh-fails-ca", &host);
    desk.operator
        .inventory("ossh-fails-user", "127.0.0.1", host.port(), "nobody-may");
    desk.operator
        .remembers(&format!("ossh-fails-user {}\n", host.public_key()));
    desk.install();
    // No server listens at this port.
    let said = desk.ssh(&["ossh-fails-dial", "true"]);
    assert_eq!(said.code, 255);
    assert!(
        said.stderr.contains("cannot connect to `ossh-fails-dial`"),
        "{}",
        said.stderr
    );
    // Vault signed meanwhile, and the row has the serial.
    let rows = desk.closed("ossh-fails-dial", 1);
    assert_eq!(
        (&rows[0]["result"], &rows[0]["cert_serial"].is_null()),
        (&"failed".into(), &false)
    );
    // `ssh` does not trust the host. The certificate existed, but `ssh` did not show it to the host.
    let said = desk.ssh(&["ossh-fails-key", "true"]);
    assert_eq!(said.code, 255);
    assert!(
        said.stderr.contains("Host key verification failed"),
        "{}",
        said.stderr
    );
    let rows = desk.closed("ossh-fails-key", 1);
    assert_eq!(rows[0]["result"], "closed");
    assert_eq!(rows[0]["error"], "`ssh` did not use the certificate");
    // Vault does not sign for that user.
    let said = desk.ssh(&["ossh-fails-user", "true"]);
    assert_eq!(said.code, 255);
    assert!(
        said.stderr.contains("Vault signs no key for `nobody-may`"),
        "{}",
        said.stderr
    );
    assert_eq!(desk.closed("ossh-fails-user", 1)[0]["result"], "refused");
    // The host does not trust the CA, and `ssh` tries no other key.
    host.trust_nobody().unwrap();
    let said = desk.ssh(&["ossh-fails-ca", "true"]);
    assert_eq!(said.code, 255);
    assert!(
        said.stderr.contains("Permission denied (publickey)"),
        "{}",
        said.stderr
    );
    assert_eq!(desk.closed("ossh-fails-ca", 1)[0]["result"], "closed");
    assert_eq!(accepted(&host.log()), [""; 0]);
}

#[test]
fn an_unrecorded_certificate_is_never_offered() {
    let Some(centre) = shared() else { return };
    let desk = Desk::new(centre, "ossh-order");
    let host = centre.another_host("ossh-order").unwrap();
    desk.operator.knows("ossh-order-1", &host);
    desk.install();
    // In these two seconds, `ssh` could log in if it had the certificate.
    let sql = "create function vctl.spec_refuses() returns trigger language plpgsql as $$ \
               begin perform pg_sleep(2); raise exception 'not this one'; end $$; \
               create trigger spec_refuses before insert on vctl.access_log for each row \
               when (new.hostname = 'ossh-order-1') execute function vctl.spec_refuses()";
    centre.postgres.psql(DATABASE, sql).unwrap();
    let said = desk.ssh(&["ossh-order-1", "true"]);
    let sql = "drop function vctl.spec_refuses cascade";
    centre.postgres.psql(DATABASE, sql).unwrap();
    assert_eq!(said.code, 255, "{said:?}");
    let why = "this access cannot be recorded, so vctl does not connect";
    assert!(said.stderr.contains(why), "{}", said.stderr);
    let log = host.log();
    assert!(!log.contains("publickey") && !log.contains("CERT"), "{log}");
}

#[test]
fn a_key_on_disk_is_not_used_in_its_place() {
    let Some(centre) = shared() else { return };
    let desk = Desk::new(centre, "ossh-disk");
    let host = centre.another_host("ossh-disk").unwrap();
    desk.operator.knows("ossh-disk-1", &host);
    let key = desk.home(".ssh/own");
    let mut make = desk
        .operator
        .at
        .program("ssh-keygen", &["-q", "-N", "", "-f"]);
    assert!(make.arg(&key).status().unwrap().success());
    // The host would accept this key.
    let root = centre.root().join(format!("{}-ossh-disk", centre.id()));
    let authorized = root.join("authorized_keys").join(host.user());
    fs::copy(desk.home(".ssh/own.pub"), authorized).unwrap();
    host.trust_nobody().unwrap();
    let own = format!("Host *\n    IdentityFile {}\n{BEFORE}", key.display());
    fs::write(desk.config(), own).unwrap();
    desk.install();
    let said = desk.ssh(&["ossh-disk-1", "true"]);
    assert_eq!(said.code, 255, "{said:?}");
    let refused = said.stderr.contains("Permission denied (publickey)");
    assert!(refused, "{}", said.stderr);
    assert_eq!(accepted(&host.log()), [""; 0]);
}
