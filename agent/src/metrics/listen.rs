//! Serves the metrics over HTTP, with as much of the protocol as a scrape needs.
//!
//! hyper was considered. One fixed answer does not need it, and a library would have to be kept
//! from reading bodies, keeping connections open and waiting for slow clients.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;
use vctl_common::causes::WithCauses;

use super::{Scrape, render};

/// Most scrapes at one time; an idle connection ends after [`PATIENCE`].
const AT_ONCE: usize = 8;
const PATIENCE: Duration = Duration::from_secs(5);
/// Time until the place of an answered connection is free again. Every local user can connect to a loopback address: so
/// that is at most 80 connections a second.
const PAUSE: Duration = Duration::from_millis(100);
/// Time for which scrapes get the same text. No scraper asks more often.
const RENDERED_EVERY: Duration = Duration::from_secs(1);
const REQUEST_MAX: usize = 8 * 1024;
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Address of the metrics. Only on this host, because access to them is not controlled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A loopback address.
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') {
                Ok(Self::Unix(path.into()))
            } else {
                Err(format!("`{path}` is not an absolute path"))
            };
        }
        let address: SocketAddr = text.parse().map_err(|_| {
            format!("`{text}` is neither an address such as `127.0.0.1:9461` nor `unix:/path`")
        })?;
        if address.ip().to_canonical().is_loopback() {
            Ok(Self::Tcp(address))
        } else {
            Err(format!(
                "`{}` is not a loopback address; metrics are served only on this host",
                address.ip()
            ))
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A bound socket.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Binds the address. A Unix socket of an earlier run is replaced; group root may use it.
    pub async fn bind(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => Ok(Self::Tcp(TcpListener::bind(address).await?)),
            Listen::Unix(path) => {
                if fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
                    fs::remove_file(path)?;
                }
                let listener = UnixListener::bind(path)?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
                Ok(Self::Unix(listener))
            }
        }
    }

    /// Returns the bound address; `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Answers scrapes until the task is dropped or the loop behind `scrapes` has ended.
    pub async fn run(self, scrapes: mpsc::Sender<Scrape>) {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        let text = Arc::new(Mutex::new(Rendered::of(scrapes.clone())));
        while !scrapes.is_closed() {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                return;
            };
            let accepted = match &self {
                Self::Tcp(listener) => listener.accept().await.map(|(s, _)| Connection::Tcp(s)),
                Self::Unix(listener) => listener.accept().await.map(|(s, _)| Connection::Unix(s)),
            };
            let connection = match accepted {
                Ok(connection) => connection,
                Err(error) => {
                    // Usually no file descriptors are left, and the collector needs them more.
                    warn!(error = %WithCauses(&error), "A scrape could not be accepted.");
                    sleep(PATIENCE).await;
                    continue;
                }
            };
            let text = Arc::clone(&text);
            tokio::spawn(async move {
                let served = async {
                    match connection {
                        Connection::Tcp(stream) => serve(stream, &text).await,
                        Connection::Unix(stream) => serve(stream, &text).await,
                    }
                };
                // A client that disconnects loses only its own scrape.
                let _ = timeout(PATIENCE, served).await;
                sleep(PAUSE).await;
                drop(permit);
            });
        }
    }
}

enum Connection {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

/// The last text, which is new for a second.
struct Rendered {
    scrapes: mpsc::Sender<Scrape>,
    last: Option<(Instant, Arc<str>)>,
}

impl Rendered {
    fn of(scrapes: mpsc::Sender<Scrape>) -> Self {
        Self {
            scrapes,
            last: None,
        }
    }

    /// Returns the text. Asks the collector if the last one is old; `None` when the collector is about to end.
    async fn text(&mut self) -> Option<Arc<str>> {
        if let Some((at, text)) = &self.last
            && at.elapsed() < RENDERED_EVERY
        {
            return Some(Arc::clone(text));
        }
        let (sender, answer) = oneshot::channel();
        self.scrapes.send(sender).await.ok()?;
        let text: Arc<str> = render(&answer.await.ok()?).into();
        self.last = Some((Instant::now(), Arc::clone(&text)));
        Some(text)
    }
}

async fn serve<S>(mut stream: S, text: &Mutex<Rendered>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = read_head(&mut stream).await?;
    let (status, body) = match judge(&request) {
        Ok(()) => match text.lock().await.text().await {
            Some(text) => ("200 OK", text),
            None => ("503 Service Unavailable", "stopping\n".into()),
        },
        Err(status) => (status, "metrics are at GET /metrics\n".into()),
    };
    let kind = if status.starts_with("200") {
        CONTENT_TYPE
    } else {
        "text/plain"
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < REQUEST_MAX {
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            break;
        }
        head.extend_from_slice(piece.get(..read).unwrap_or_default());
    }
    Ok(head)
}

/// Returns the error of a bad request.
fn judge(head: &[u8]) -> Result<(), &'static str> {
    let line = head.split(|&b| b == b'\r').next().unwrap_or_default();
    let mut words = line.split(|&b| b == b' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    if !version.is_some_and(|version| version.starts_with(b"HTTP/1.")) {
        return Err("400 Bad Request");
    }
    if method != Some(b"GET") {
        return Err("405 Method Not Allowed");
    }
    let path = target
        .and_then(|target| target.split(|&b| b == b'?').next())
        .unwrap_or_default();
    if path == b"/metrics" || path == b"/" {
        Ok(())
    } else {
        Err("404 Not Found")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::channel;
    use vctl_common::status::CollectorStatus;

    #[test]
    fn only_this_host_may_ask() {
        for text in ["127.0.0.1:9461", "[::1]:9461", "127.8.8.8:1", "unix:/run/x"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        for text in [
            "0.0.0.0:9461",
            "[::]:9461",
            "10.0.0.1:9461",
            "[::ffff:10.0.0.1]:9461",
            "localhost",
            "9461",
            "unix:run/x",
            "",
        ] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_request_for_anything_else_is_refused() {
        assert_eq!(judge(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), Ok(()));
        assert_eq!(judge(b"GET /metrics?x=1 HTTP/1.0\r\n\r\n"), Ok(()));
        assert_eq!(
            judge(b"POST /metrics HTTP/1.1\r\n\r\n"),
            Err("405 Method Not Allowed")
        );
        assert_eq!(judge(b"GET /etc HTTP/1.1\r\n\r\n"), Err("404 Not Found"));
        for odd in [&b""[..], b"\0\0\0", b"GET /metrics", b"\x16\x03\x01 \x02"] {
            assert_eq!(judge(odd), Err("400 Bad Request"), "{odd:?}");
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_scrape_gets_the_numbers_of_its_moment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.sock");
        let (sender, mut scrapes) = channel();
        // Twice: the second run replaces the socket that the first one left.
        for sessions_open in [1, 2] {
            let listener = Listener::bind(&Listen::Unix(path.clone())).await.unwrap();
            let server = tokio::spawn(listener.run(sender.clone()));
            let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
            stream
                .write_all(b"GET /metrics HTTP/1.1\r\n\r\n")
                .await
                .unwrap();
            let asked = scrapes.recv().await.unwrap();
            let numbers = CollectorStatus {
                sessions_open,
                ..CollectorStatus::default()
            };
            asked.send(numbers).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(
                answer.contains(&format!("vctl_sessions_open {sessions_open}\n")),
                "{answer}"
            );
            server.abort();
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn many_scrapes_cost_one_text_a_second_and_wait() {
        const SCRAPES: usize = 4 * AT_ONCE;
        let (sender, mut scrapes) = channel();
        let loopback = Listen::Tcp("127.0.0.1:0".parse().unwrap());
        let listener = Listener::bind(&loopback).await.unwrap();
        let address = listener.address().unwrap();
        let server = tokio::spawn(listener.run(sender));
        let collector = tokio::spawn(async move {
            let mut asked = 0_u64;
            while let Some(scrape) = scrapes.recv().await {
                asked += 1;
                let _ = scrape.send(CollectorStatus {
                    sessions_open: asked,
                    ..CollectorStatus::default()
                });
            }
        });
        let begun = Instant::now();
        let clients = (0..SCRAPES).map(|_| async move {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        });
        let answers = futures_util::future::join_all(clients).await;
        let took = begun.elapsed();
        // All but the last ones waited for the places of the ones before.
        assert!(took >= 3 * PAUSE, "{took:?}");
        let texts: std::collections::HashSet<&String> = answers.iter().collect();
        let seconds = usize::try_from(took.as_secs()).unwrap();
        assert!(texts.len() <= 1 + seconds, "{} in {took:?}", texts.len());
        server.abort();
        collector.abort();
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_file_in_the_place_of_the_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        fs::write(&path, "x").unwrap();
        assert!(Listener::bind(&Listen::Unix(path.clone())).await.is_err());
        assert_eq!(fs::read_to_string(path).unwrap(), "x");
    }
}
