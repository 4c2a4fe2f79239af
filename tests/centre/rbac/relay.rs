//! A relay between vctl and Postgres that sees the statements: it ends TLS with Postgres' own certificate.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use vctl_tests::centre::Centre;

use super::sql;

/// How long answers are withheld at most. Only a client that waits for one of them takes so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections and statements of a relay.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) connections: u32,
    pub(super) statements: Vec<String>,
    /// Whether a client waited for the answer to one of the statements before it sent the other one.
    pub(super) waited: bool,
}

pub(super) struct Relay {
    pub(super) port: u16,
    seen: Arc<Mutex<Seen>>,
}

impl Relay {
    /// Starts a relay that withholds every answer after one of two statements until the client has sent the other.
    /// Each text is a part of one statement.
    pub(super) fn start(centre: &Centre, together: [&'static str; 2]) -> Self {
        let data = centre.postgres.data();
        let hba = data.join("pg_hba.conf");
        let lines = std::fs::read_to_string(&hba).unwrap();
        let plain = "hostnossl all all 127.0.0.1/32 scram-sha-256\n";
        std::fs::write(&hba, format!("{lines}{plain}")).unwrap();
        sql(centre, "select pg_reload_conf()");
        let certificates = CertificateDer::pem_file_iter(data.join("server.crt")).unwrap();
        let key = PrivateKeyDer::from_pem_file(data.join("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificates.map(Result::unwrap).collect(), key)
            .unwrap();
        let (tls, target) = (Arc::new(tls), centre.postgres.port);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                shared.lock().unwrap().connections += 1;
                let (tls, seen) = (Arc::clone(&tls), Arc::clone(&shared));
                // An error means that one side is gone.
                thread::spawn(move || serve(client, tls, target, &seen, together));
            }
        });
        Self { port, seen }
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(
    mut client: TcpStream,
    tls: Arc<ServerConfig>,
    target: u16,
    seen: &Mutex<Seen>,
    together: [&str; 2],
) -> std::io::Result<()> {
    // The request for TLS.
    client.read_exact(&mut [0; 8])?;
    client.write_all(b"S")?;
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, target))?;
    let tls = ServerConnection::new(tls).map_err(std::io::Error::other)?;
    let mut client = StreamOwned::new(tls, client);
    let mut messages = Messages::default();
    let mut sent = [false; 2];
    let mut withheld: Option<Instant> = None;
    let mut buffer = vec![0; 1 << 16];
    // Until the end of the handshake, reads wait.
    while client.conn.is_handshaking() {
        client.conn.complete_io(&mut client.sock)?;
    }
    for socket in [&client.sock, &server] {
        socket.set_read_timeout(Some(Duration::from_millis(1)))?;
    }
    loop {
        if let Some(length) = read_some(&mut client, &mut buffer)? {
            for statement in messages.statements(&buffer[..length]) {
                for (text, sent) in together.iter().zip(&mut sent) {
                    *sent |= statement.contains(text);
                }
                seen.lock().unwrap().statements.push(statement);
            }
            server.write_all(&buffer[..length])?;
        }
        if sent[0] != sent[1] {
            let since = *withheld.get_or_insert_with(Instant::now);
            if since.elapsed() < PATIENCE {
                continue;
            }
            seen.lock().unwrap().waited = true;
            sent = [true; 2];
        }
        if let Some(length) = read_some(&mut server, &mut buffer)? {
            client.write_all(&buffer[..length])?;
            client.flush()?;
        }
    }
}

/// Reads the bytes that have arrived, and returns their number; `None` without any.
fn read_some(from: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<Option<usize>> {
    match from.read(buffer) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(length) => Ok(Some(length)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The messages of a client.
#[derive(Default)]
struct Messages {
    has_begun: bool,
    /// An incomplete message.
    rest: Vec<u8>,
}

impl Messages {
    /// Returns the texts of the statements in these bytes.
    fn statements(&mut self, bytes: &[u8]) -> Vec<String> {
        self.rest.extend_from_slice(bytes);
        let mut statements = Vec::new();
        loop {
            // The first message has no type.
            let kind = usize::from(self.has_begun);
            let Some(length) = self.rest.get(kind..kind + 4) else {
                return statements;
            };
            let length = u32::from_be_bytes(length.try_into().unwrap()) as usize + kind;
            if self.rest.len() < length {
                return statements;
            }
            let message: Vec<u8> = self.rest.drain(..length).collect();
            // Parse: the name of the statement, then its text; each ends with a NUL byte.
            if self.has_begun && message[0] == b'P' {
                let text = message[5..].split(|&byte| byte == 0).nth(1);
                statements.push(String::from_utf8_lossy(text.unwrap_or_default()).into_owned());
            }
            self.has_begun = true;
        }
    }
}
