//! The HTTP interface of OpenBao and Vault, as an administrator uses it.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use super::secret::Secret;

/// Talks to one server, with or without a token; one connection per call.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    token: Option<Secret>,
    wrap: bool,
}

/// The answer of the server.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    /// `Null` when the answer has no body.
    pub body: Value,
}

/// Returns the TLS settings for a server that has a certificate of `ca`.
pub(super) fn tls_of(ca: &Path) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca)
        .with_context(|| format!("cannot read `{}`", ca.display()))?
    {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

impl Client {
    /// Makes a client that accepts a server at `port` with a certificate of `ca` for `name`.
    pub fn new(port: u16, name: &str, ca: &Path, token: Option<Secret>) -> Result<Self> {
        let tls = tls_of(ca)?;
        Ok(Self {
            address: (Ipv4Addr::LOCALHOST, port).into(),
            name: ServerName::try_from(name.to_owned())?,
            tls: Arc::new(tls),
            token,
            wrap: false,
        })
    }

    /// Returns a wrapping token for the answer. The server gives the answer once, to the first client with this token.
    pub fn wrapped(&self, path: &str) -> Result<Secret> {
        self.post_wrapped(path, &Value::Object(serde_json::Map::new()))
    }

    /// Like [`Self::wrapped`], with a body.
    pub fn post_wrapped(&self, path: &str, body: &Value) -> Result<Secret> {
        let wrapping = Self {
            wrap: true,
            ..self.clone()
        };
        let answer = wrapping.post(path, body)?;
        let token = answer["wrap_info"]["token"].as_str();
        Ok(Secret::new(token.context("the answer is not wrapped")?))
    }

    /// Returns the same client with another token.
    pub fn with_token(&self, token: Secret) -> Self {
        Self {
            token: Some(token),
            ..self.clone()
        }
    }

    /// Returns the token, for programs that act with it.
    ///
    /// # Panics
    /// When the client has no token.
    pub fn token(&self) -> &Secret {
        self.token.as_ref().expect("this client has no token")
    }

    pub fn get(&self, path: &str) -> Result<Value> {
        self.accepted("GET", path, None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.accepted("POST", path, Some(body))
    }

    pub fn delete(&self, path: &str) -> Result<Value> {
        self.accepted("DELETE", path, None)
    }

    fn accepted(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let reply = self.call(method, path, body)?;
        ensure!(
            reply.status < 400,
            "{method} `{path}` was answered {}: {}",
            reply.status,
            reply.body["errors"]
        );
        Ok(reply.body)
    }

    /// Sends one request below `/v1/`, and returns the answer, whatever its status is.
    ///
    /// # Errors
    /// When the connection fails, the certificate is not accepted, or the answer is not HTTP.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Reply> {
        let body = body.map(Value::to_string).unwrap_or_default();
        // HTTP 1.0 has no chunks and no connection that stays open.
        let mut request = format!(
            "{method} /v1/{path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {}\r\n",
            body.len()
        );
        if let Some(token) = &self.token {
            write!(request, "X-Vault-Token: {}\r\n", token.expose())?;
        }
        if self.wrap {
            request.push_str("X-Vault-Wrap-TTL: 10m\r\n");
        }
        request.push_str("\r\n");
        request.push_str(&body);
        let answer = self
            .exchange(request.as_bytes())
            .with_context(|| format!("cannot ask the server at {}", self.address))?;
        parse(&answer).with_context(|| format!("the answer to {method} `{path}` is not HTTP"))
    }

    fn exchange(&self, request: &[u8]) -> Result<Vec<u8>> {
        let socket = TcpStream::connect_timeout(&self.address, Duration::from_secs(5))?;
        // The end of the handshake and the request are two small writes. Without this, 40 ms pass between them.
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_mins(1)))?;
        let session = ClientConnection::new(Arc::clone(&self.tls), self.name.clone())?;
        let mut stream = StreamOwned::new(session, socket);
        stream.write_all(request)?;
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            // A server that is being stopped closes without a TLS end message. The code below checks the received bytes.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
            result => drop(result?),
        }
        Ok(answer)
    }
}

fn parse(answer: &[u8]) -> Result<Reply> {
    let end = answer
        .windows(4)
        .position(|part| part == b"\r\n\r\n")
        .context("the head has no end")?;
    let head = std::str::from_utf8(&answer[..end])?;
    let status = head
        .split(' ')
        .nth(1)
        .context("the first line has no status")?;
    let body = &answer[end + 4..];
    let body = if body.trim_ascii().is_empty() {
        Value::Null
    } else {
        match serde_json::from_slice(body) {
            Ok(body) => body,
            Err(error) => bail!("the body is not JSON: {error}"),
        }
    };
    Ok(Reply {
        status: status.parse()?,
        body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_a_body_has_a_status() {
        let reply = parse(b"HTTP/1.0 204 No Content\r\nDate: x\r\n\r\n").unwrap();
        assert_eq!((reply.status, reply.body), (204, Value::Null));
    }

    #[test]
    fn an_answer_cut_short_is_an_error() {
        assert!(parse(b"HTTP/1.0 200 OK\r\nDate").is_err());
        assert!(parse(b"HTTP/1.0 200 OK\r\n\r\n{\"data\":").is_err());
    }
}
