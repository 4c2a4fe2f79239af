//! The small web server that the browser comes back to.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use vctl_common::secret::Secret;

use super::address::{PATH, redirect_uri};
use super::callback::{self, Answer};
use super::page::Page;
use crate::error::CliError;
use crate::exit_code::Exit;

/// For the head of a request to arrive.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// Bytes of a request's head. Codes of some providers have thousands.
const HEAD_AT_MOST: usize = 32 << 10;

/// Time limit for the form of a POST to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Most bytes of that form: a code and a state, as in the head.
const FORM_AT_MOST: usize = HEAD_AT_MOST;

/// Browsers open a few connections ahead; more than that is not a browser.
const CONNECTIONS: usize = 32;

/// Sockets on loopback that nobody is answered at yet.
pub(super) struct Listener(Vec<TcpListener>);

/// What came back, and the browser that waits to hear what became of it.
pub(super) struct Came {
    pub(super) answer: Answer,
    pub(super) browser: Waiting,
}

/// A browser whose request is not answered yet.
pub(super) struct Waiting {
    page: oneshot::Sender<Page>,
    /// Errs once its connection is closed.
    closed: oneshot::Receiver<Infallible>,
}

impl Waiting {
    /// Answers, and returns when the browser has it all.
    pub(super) async fn show(self, page: Page) {
        if self.page.send(page).is_ok() {
            let _ = self.closed.await;
        }
    }
}

/// Answers as long as it lives.
pub(super) struct Expecting {
    came: oneshot::Receiver<Came>,
    _accepting: JoinSet<()>,
}

/// Returns what comes back to there; nothing ever does where nobody listens.
pub(super) async fn next(expecting: &mut Option<Expecting>) -> Came {
    if let Some(expecting) = expecting
        && let Ok(came) = (&mut expecting.came).await
    {
        return came;
    }
    pending().await
}

impl Listener {
    /// Takes the port on both loopback addresses: which of them `localhost` is, the browser decides.
    pub(super) async fn bind(port: u16) -> Result<Self, CliError> {
        let busy = |error: &io::Error| cannot_listen(port, error);
        let four = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await;
        let mut sockets = vec![four.map_err(|error| busy(&error))?];
        match TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, port))).await {
            Ok(six) => sockets.push(six),
            // The browser may go to whoever listens there.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(busy(&error)),
            // There is no IPv6 here.
            Err(_) => {}
        }
        Ok(Self(sockets))
    }

    /// Waits for the browser with this state. Everybody else is told that there is nothing here.
    pub(super) fn expect(self, state: &Secret<String>) -> Expecting {
        let (sender, came) = oneshot::channel();
        let gate = Arc::new(Gate {
            state: state.clone(),
            came: Mutex::new(Some(sender)),
            places: Arc::new(Semaphore::new(CONNECTIONS)),
        });
        let mut accepting = JoinSet::new();
        for socket in self.0 {
            accepting.spawn(accept(socket, Arc::clone(&gate)));
        }
        Expecting {
            came,
            _accepting: accepting,
        }
    }
}

fn cannot_listen(port: u16, error: &io::Error) -> CliError {
    let message =
        format!("cannot listen on port {port} of this machine, where the browser is to come back");
    CliError::new(Exit::TryAgain, message)
        .caused_by(error)
        .hint(format!(
            "end what listens there (`ss -ltnp 'sport = {port}'`), or log in with `--no-browser`; `--callback-port PORT` is another one, if role and provider allow `{}`",
            redirect_uri(0).replace(":0", ":PORT")
        ))
}

struct Gate {
    state: Secret<String>,
    /// Taken by the first who knows the state.
    came: Mutex<Option<oneshot::Sender<Came>>>,
    places: Arc<Semaphore>,
}

async fn accept(socket: TcpListener, gate: Arc<Gate>) {
    let mut connections = JoinSet::new();
    while let Ok(place) = Arc::clone(&gate.places).acquire_owned().await {
        let Ok((stream, _)) = socket.accept().await else {
            // Out of descriptors, or the other side has gone: neither lasts.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let gate = Arc::clone(&gate);
        connections.spawn(async move {
            serve(stream, &gate).await;
            drop(place);
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Answers one request, and closes the connection.
async fn serve(stream: TcpStream, gate: &Gate) {
    let (until_closed, closed) = oneshot::channel();
    let closed = Mutex::new(Some(closed));
    let service = service_fn(async |request: Request<Incoming>| {
        let closed = closed.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok::<_, Infallible>(gate.answer(request, closed).await.into())
    });
    // An error is one of the other side, which has gone or does not speak HTTP.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_AT_MOST)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    drop(until_closed);
}

impl Gate {
    async fn answer(
        &self,
        request: Request<Incoming>,
        closed: Option<oneshot::Receiver<Infallible>>,
    ) -> Page {
        if !is_for_loopback(&request) || request.uri().path() != PATH {
            return Page::nothing_here();
        }
        let parameters = parameters(request).await;
        let answer = parameters.and_then(|sent| callback::read(&sent, &self.state).ok());
        let Some(answer) = answer else {
            return Page::not_the_way_back();
        };
        let came = self
            .came
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let (Some(came), Some(closed)) = (came, closed) else {
            return Page::not_the_way_back();
        };
        let (page, when_known) = oneshot::channel();
        let browser = Waiting { page, closed };
        let told = came.send(Came { answer, browser });
        match when_known.await {
            Ok(page) if told.is_ok() => page,
            // Nobody waits any more.
            _ => Page::failed("vctl was stopped"),
        }
    }
}

/// Returns what the provider sent: the query of a GET, or the form of a POST (`response_mode=form_post`).
async fn parameters(request: Request<Incoming>) -> Option<Bytes> {
    if request.method() == Method::GET {
        return Some(Bytes::copy_from_slice(request.uri().query()?.as_bytes()));
    }
    let is_form = request.headers().get(CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes();
        let kind = kind.split(|&byte| byte == b';').next().unwrap_or_default();
        kind.trim_ascii()
            .eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
    });
    if request.method() != Method::POST || !is_form {
        return None;
    }
    let body = Limited::new(request.into_body(), FORM_AT_MOST).collect();
    let body = timeout(BODY_WITHIN, body).await.ok()?.ok()?;
    Some(body.to_bytes())
}

/// A page elsewhere can have a name of its own resolve to this machine, and be let read the answer.
fn is_for_loopback<B>(request: &Request<B>) -> bool {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let Some(host) = host else { return false };
    let name = match host.rsplit_once(':') {
        // The last colon of an IPv6 address stands in its brackets.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let given = request.uri().host();
    let ours = |name: &str| {
        name.eq_ignore_ascii_case("localhost") || ["127.0.0.1", "[::1]"].contains(&name)
    };
    ours(name) && given.is_none_or(ours)
}

impl From<Page> for Response<Full<Bytes>> {
    fn from(page: Page) -> Self {
        let mut response = Self::new(Full::from(page.html()));
        *response.status_mut() = page.status();
        response.headers_mut().extend(Page::headers());
        response
    }
}
