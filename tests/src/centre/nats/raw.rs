//! A user of the server that sends bytes which no client library sends.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64ct::{Base64UrlUnpadded, Encoding as _};
use nkeys::KeyPair;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use serde_json::{Value, json};
use vctl_common::tls::{Trust, client_config};

use super::Nats;

/// Time for each answer of the server.
const PATIENCE: Duration = Duration::from_secs(10);

impl Nats {
    /// Publishes messages with these headers as a user. The server takes the bytes of a header as they are.
    pub fn publish_raw(
        &self,
        user: &str,
        subject: &str,
        messages: &[(&[u8], &[u8])],
    ) -> Result<()> {
        let seed = fs::read_to_string(self.key(user))?;
        let key = KeyPair::from_seed(seed.trim()).context("not a seed")?;
        let mut plain = TcpStream::connect(("127.0.0.1", self.port))?;
        plain.set_read_timeout(Some(PATIENCE))?;
        let info = line(&mut plain)?;
        let info: Value = serde_json::from_str(info.strip_prefix("INFO ").context("no INFO")?)?;
        let nonce = info["nonce"].as_str().context("no nonce")?;
        let connect = json!({
            "verbose": false, "pedantic": false, "tls_required": true, "headers": true, "protocol": 1,
            "lang": "raw", "version": "1", "nkey": key.public_key(),
            "sig": Base64UrlUnpadded::encode_string(&key.sign(nonce.as_bytes())?),
        });
        let config = client_config(&Trust::File(self.ca.clone()))?;
        let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
        let tls = ClientConnection::new(Arc::new(config), name)?;
        let mut stream = BufReader::new(StreamOwned::new(tls, plain));
        let mut out = format!("CONNECT {connect}\r\n").into_bytes();
        for (header, payload) in messages {
            let (len, all) = (header.len(), header.len() + payload.len());
            out.extend_from_slice(format!("HPUB {subject} {len} {all}\r\n").as_bytes());
            out.extend_from_slice(header);
            out.extend_from_slice(payload);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"PING\r\n");
        stream.get_mut().write_all(&out)?;
        stream.get_mut().flush()?;
        loop {
            let mut said = String::new();
            stream.read_line(&mut said)?;
            match said.trim_end() {
                "PONG" => return Ok(()),
                "PING" => stream.get_mut().write_all(b"PONG\r\n")?,
                other => ensure!(other.starts_with("INFO "), "the server said `{other}`"),
            }
        }
    }
}

/// Reads one line. What follows it is not plain, so no byte of it is read.
fn line(stream: &mut TcpStream) -> Result<String> {
    use std::io::Read as _;
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        line.extend(byte);
    }
    Ok(String::from_utf8(line)?)
}
