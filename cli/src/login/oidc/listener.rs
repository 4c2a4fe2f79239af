//! The web server on loopback for the redirect of the browser.

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
use super::page::LoginPage;
use crate::error::CliError;
use crate::exit_code::Exit;

/// Timeout for the head of a request.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// Maximum size of a request's head. The codes of some providers have thousands of bytes.
const HEAD_AT_MOST: usize = 32 << 10;

/// Timeout for the form of a POST.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Maximum size of that form: a code and a state, as in the head.
const FORM_AT_MOST: usize = HEAD_AT_MOST;

/// Maximum number of connections. Browsers open only a few in advance.
const CONNECTIONS: usize = 32;

/// Sockets on loopback, not served yet.
pub(super) struct CallbackListener(Vec<TcpListener>);

/// An answer, and the browser that waits for the result.
pub(super) struct Arrival {
    pub(super) answer: Answer,
    pub(super) browser: WaitingBrowser,
}

/// A browser that waits for its page.
pub(super) struct WaitingBrowser {
    page: oneshot::Sender<LoginPage>,
    /// Fails when the connection is closed.
    closed: oneshot::Receiver<Infallible>,
}

impl WaitingBrowser {
    /// Sends the page, and returns when the browser has received it.
    pub(super) async fn show(self, page: LoginPage) {
        if self.page.send(page).is_ok() {
            let _ = self.closed.await;
        }
    }
}

/// A running server, which ends on drop.
pub(super) struct RunningListener {
    arrived: oneshot::Receiver<Arrival>,
    _accepting: JoinSet<()>,
}

/// Waits for the answer; for ever if there is no server.
pub(super) async fn next(expecting: &mut Option<RunningListener>) -> Arrival {
    if let Some(expecting) = expecting
        && let Ok(arrived) = (&mut expecting.arrived).await
    {
        return arrived;
    }
    pending().await
}

impl CallbackListener {
    /// Binds the port on both loopback addresses: the browser decides which one `localhost` is.
    pub(super) async fn bind(port: u16) -> Result<Self, CliError> {
        let busy = |error: &io::Error| cannot_listen(port, error);
        let four = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await;
        let mut sockets = vec![four.map_err(|error| busy(&error))?];
        match TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, port))).await {
            Ok(six) => sockets.push(six),
            // Another process listens on the IPv6 address, and the browser may connect to it.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(busy(&error)),
            // No IPv6 on this machine.
            Err(_) => {}
        }
        Ok(Self(sockets))
    }

    /// Serves the browser with this state. Other requests get an error page.
    pub(super) fn expect(self, state: &Secret<String>) -> RunningListener {
        let (sender, arrived) = oneshot::channel();
        let server = Arc::new(CallbackServer {
            state: state.clone(),
            arrived: Mutex::new(Some(sender)),
            places: Arc::new(Semaphore::new(CONNECTIONS)),
        });
        let mut accepting = JoinSet::new();
        for socket in self.0 {
            accepting.spawn(accept(socket, Arc::clone(&server)));
        }
        RunningListener {
            arrived,
            _accepting: accepting,
        }
    }
}

fn cannot_listen(port: u16, error: &io::Error) -> CliError {
    let message =
        format!("cannot listen on port {port} of this machine, for the redirect of the browser");
    CliError::new(Exit::TryAgain, message)
        .caused_by(error)
        .hint(format!(
            "stop the program on that port (`ss -ltnp 'sport = {port}'`), use `--no-browser`, or another `--callback-port PORT` if role and provider allow `{}`",
            redirect_uri(0).replace(":0", ":PORT")
        ))
}

struct CallbackServer {
    state: Secret<String>,
    /// Taken by the first request with the state.
    arrived: Mutex<Option<oneshot::Sender<Arrival>>>,
    places: Arc<Semaphore>,
}

async fn accept(socket: TcpListener, server: Arc<CallbackServer>) {
    let mut connections = JoinSet::new();
    while let Ok(place) = Arc::clone(&server.places).acquire_owned().await {
        let Ok((stream, _)) = socket.accept().await else {
            // No free descriptor, or the client has disconnected: both are temporary.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let server = Arc::clone(&server);
        connections.spawn(async move {
            serve(stream, &server).await;
            drop(place);
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Answers one request, and closes the connection.
async fn serve(stream: TcpStream, server: &CallbackServer) {
    let (until_closed, closed) = oneshot::channel();
    let closed = Mutex::new(Some(closed));
    let service = service_fn(async |request: Request<Incoming>| {
        let closed = closed.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok::<_, Infallible>(server.answer(request, closed).await.into())
    });
    // Errors are ignored: the client has disconnected, or does not speak HTTP.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_AT_MOST)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    drop(until_closed);
}

impl CallbackServer {
    async fn answer(
        &self,
        request: Request<Incoming>,
        closed: Option<oneshot::Receiver<Infallible>>,
    ) -> LoginPage {
        if !is_for_loopback(&request) || request.uri().path() != PATH {
            return LoginPage::not_found();
        }
        let parameters = parameters(request).await;
        let answer = parameters.and_then(|sent| callback::read(&sent, &self.state).ok());
        let Some(answer) = answer else {
            return LoginPage::unexpected_login();
        };
        let arrived = self
            .arrived
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let (Some(arrived), Some(closed)) = (arrived, closed) else {
            return LoginPage::unexpected_login();
        };
        let (page, when_known) = oneshot::channel();
        let browser = WaitingBrowser { page, closed };
        let told = arrived.send(Arrival { answer, browser });
        match when_known.await {
            Ok(page) if told.is_ok() => page,
            // The login has ended before the answer.
            _ => LoginPage::failed("vctl was stopped"),
        }
    }
}

/// Returns the parameters of the provider: the query of a GET, or the form of a POST (`response_mode=form_post`).
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

/// Returns whether the request is for a loopback name. A foreign page could resolve its own name to this machine
/// and then read the answer.
fn is_for_loopback<B>(request: &Request<B>) -> bool {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let Some(host) = host else { return false };
    let name = match host.rsplit_once(':') {
        // The last colon of an IPv6 address is inside of the brackets.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let given = request.uri().host();
    let ours = |name: &str| {
        name.eq_ignore_ascii_case("localhost") || ["127.0.0.1", "[::1]"].contains(&name)
    };
    ours(name) && given.is_none_or(ours)
}

impl From<LoginPage> for Response<Full<Bytes>> {
    fn from(page: LoginPage) -> Self {
        let mut response = Self::new(Full::from(page.html()));
        *response.status_mut() = page.status();
        response.headers_mut().extend(LoginPage::headers());
        response
    }
}
