//! One request to Vault: adds the token, and sorts the errors.
//!
//! The request types are those of vaultrs, but its client is not used. It reads `VAULT_TOKEN` and
//! `VAULT_SKIP_VERIFY` by itself, panics on a token with a line break, drops lease ids and
//! `Retry-After`, and logs errors that the caller may still handle.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode, Url, redirect};
use rustify::Endpoint;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use vaultrs::api::EndpointResult;

use super::VaultError;
use super::resolve::Answering;
use crate::centre::VaultSettings;
use crate::escape::one_line;
use crate::secret::Secret;
use crate::tls::{self, TlsProblem};
use crate::waits::{self, Kind};

/// A request without a token.
pub(super) struct Request {
    method: Method,
    path: String,
    query: Vec<(&'static str, Secret<String>)>,
    body: Vec<u8>,
    wrap_ttl: Option<Duration>,
}

impl Request {
    pub(super) fn of<E: Endpoint>(endpoint: &E) -> Self {
        Self {
            method: endpoint.method().into(),
            // Some of vaultrs' paths begin with a tab.
            path: endpoint.path().trim().trim_matches('/').to_owned(),
            query: Vec::new(),
            // Fails for values that have no JSON form; these requests contain only strings.
            body: endpoint.body().ok().flatten().unwrap_or_default(),
            wrap_ttl: None,
        }
    }

    pub(super) fn new(method: Method, path: &str, body: Option<&Value>) -> Self {
        Self {
            method,
            path: path.trim_matches('/').to_owned(),
            query: Vec::new(),
            body: body
                .map(|body| body.to_string().into_bytes())
                .unwrap_or_default(),
            wrap_ttl: None,
        }
    }

    pub(super) fn query(mut self, name: &'static str, value: &Secret<String>) -> Self {
        self.query.push((name, value.clone()));
        self
    }

    /// Parses the answer to this request.
    pub(super) fn read<T: DeserializeOwned>(&self, answer: &[u8]) -> Result<T, VaultError> {
        serde_json::from_slice(answer).map_err(|source| VaultError::Answer {
            path: self.path.clone(),
            source,
        })
    }

    /// Requests response wrapping: a token that opens the answer once.
    pub(super) fn wrapped(mut self, ttl: Duration) -> Self {
        self.wrap_ttl = Some(ttl);
        self
    }
}

pub(super) struct Transport {
    http: reqwest::Client,
    base: Url,
    namespace: Option<HeaderValue>,
    timeout: Duration,
}

impl Transport {
    pub(super) fn new(settings: &VaultSettings) -> Result<Self, VaultError> {
        let base = base(settings)?;
        let namespace = settings.namespace.as_deref().map(HeaderValue::from_str);
        let tls = tls::client_config(&settings.trust).map_err(|source| VaultError::Setup {
            addr: settings.addr.clone(),
            source,
        })?;
        let host = base.host_str().unwrap_or_default();
        let port = base.port_or_known_default().unwrap_or_default();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            // The environment must not choose a proxy that sees the token.
            .no_proxy()
            .redirect(redirect::Policy::custom(follow))
            .dns_resolver(Arc::new(Answering::new(host, port)))
            .connect_timeout(settings.timeout)
            .timeout(settings.timeout)
            .tcp_nodelay(true)
            .tcp_keepalive(Duration::from_secs(30))
            // A NAT on the way forgets connections that are idle for longer.
            .pool_idle_timeout(Duration::from_mins(1))
            .build()
            .map_err(|source| VaultError::Unreachable {
                addr: settings.addr.clone(),
                source,
            })?;
        Ok(Self {
            http,
            base,
            namespace: namespace
                .transpose()
                .map_err(|_| bad(settings, "its namespace is not a valid header value"))?,
            timeout: settings.timeout,
        })
    }

    /// Sends a request and parses its answer, which must not be empty.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        token: Option<&Secret<String>>,
        request: &Request,
    ) -> Result<EndpointResult<T>, VaultError> {
        request.read(&self.send(token, request).await?)
    }

    /// Sends a request and returns the bytes of the answer, which may be empty.
    pub(super) async fn send(
        &self,
        token: Option<&Secret<String>>,
        request: &Request,
    ) -> Result<Vec<u8>, VaultError> {
        let mut headers = HeaderMap::new();
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        if let Some(token) = token {
            headers.insert("x-vault-token", secret_header(token)?);
        }
        if let Some(namespace) = &self.namespace {
            headers.insert("x-vault-namespace", namespace.clone());
        }
        if let Some(ttl) = request.wrap_ttl {
            headers.insert("x-vault-wrap-ttl", HeaderValue::from(ttl.as_secs()));
        }
        let addr = self.base.origin().ascii_serialization();
        let _waiting = waits::begin(Kind::Vault, format!("Vault at `{addr}`"));
        let answer = self
            .http
            .request(request.method.clone(), self.url(request))
            .headers(headers)
            .body(request.body.clone())
            .send()
            .await
            .map_err(|error| self.not_sent(error))?;
        let (status, retry_after) = (answer.status(), retry_after(answer.headers()));
        let body = answer.bytes().await.map_err(|error| self.not_sent(error))?;
        if status.is_success() {
            return Ok(body.into());
        }
        Err(self.refused(&request.path, status, retry_after, &body))
    }

    fn url(&self, request: &Request) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            let path = request.path.split('/');
            segments.pop_if_empty().push("v1").extend(path);
        }
        for (name, value) in &request.query {
            url.query_pairs_mut().append_pair(name, value.expose());
        }
        url
    }

    fn not_sent(&self, error: reqwest::Error) -> VaultError {
        let addr = self.base.origin().ascii_serialization();
        // The message already contains the URL.
        let source = error.without_url();
        if let Some(problem) = TlsProblem::find(&source) {
            return VaultError::Tls {
                addr,
                problem,
                source,
            };
        }
        if source.is_timeout() {
            let after = self.timeout;
            return VaultError::Timeout { addr, after };
        }
        VaultError::Unreachable { addr, source }
    }

    fn refused(
        &self,
        path: &str,
        status: StatusCode,
        retry_after: Option<Duration>,
        body: &[u8],
    ) -> VaultError {
        let path = path.to_owned();
        let message = message_of(body);
        match status {
            StatusCode::FORBIDDEN => VaultError::Denied {
                what: format!("access to `{path}`"),
                policy: None,
                settings: Vec::new(),
            },
            StatusCode::TOO_MANY_REQUESTS => VaultError::RateLimited { path, retry_after },
            StatusCode::SERVICE_UNAVAILABLE if message.contains("sealed") => VaultError::Sealed {
                addr: self.base.origin().ascii_serialization(),
            },
            // Vault answers 400 for an unknown role, and 404 for an unknown mount.
            _ if message.contains("unknown role") || status == StatusCode::NOT_FOUND => {
                VaultError::NotFound {
                    what: format!("`{path}`"),
                }
            }
            _ => VaultError::Http {
                path,
                status: status.as_u16(),
                message,
                retry_after,
            },
        }
    }
}

/// Returns the base address of all requests.
pub(super) fn base(settings: &VaultSettings) -> Result<Url, VaultError> {
    let bad = |why| bad(settings, why);
    let base: Url = settings.addr.parse().map_err(|_| bad("it is not a URL"))?;
    let host = base.host_str().ok_or_else(|| bad("it has no host"))?;
    match base.scheme() {
        "https" => {}
        "http" if is_loopback(host) => {}
        "http" => return Err(bad("without TLS the token would be sent in the clear")),
        _ => return Err(bad("it is not `https`")),
    }
    Ok(base)
}

fn bad(settings: &VaultSettings, why: &'static str) -> VaultError {
    VaultError::Address {
        addr: settings.addr.clone(),
        why,
    }
}

/// A standby redirects clients to the active server. Redirects to plain http and loops are refused.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let secure = attempt.url().scheme() == "https";
    if secure && attempt.previous().len() < 3 {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

/// Returns whether the host of a URL is this machine.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn secret_header(token: &Secret<String>) -> Result<HeaderValue, VaultError> {
    let mut value = HeaderValue::from_str(token.expose()).map_err(|_| VaultError::TokenText)?;
    // Hides the value in the debug output of the HTTP library.
    value.set_sensitive(true);
    Ok(value)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    // Vault never sends the other form, a date.
    let wait = value.trim().parse().ok().map(Duration::from_secs)?;
    Some(wait.min(MOST_RETRY_AFTER))
}

/// Longest wait that is taken from an answer: a proxy could otherwise stop a host's shipping for good.
const MOST_RETRY_AFTER: Duration = Duration::from_hours(1);

/// Returns the errors in a failed answer; if the answer is not Vault's, its beginning. The text is one
/// line, because it may reach a terminal or a log, and a proxy or a plugin may have written it.
fn message_of(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<String>,
    }
    if let Ok(Errors { errors }) = serde_json::from_slice(body) {
        return match errors.join("; ").trim() {
            "" => "no reason given".to_owned(),
            text => one_line(text),
        };
    }
    let beginning: String = String::from_utf8_lossy(body).chars().take(200).collect();
    one_line(&beginning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_asks_for_more_than_an_hour() {
        let wait = |text: &'static str| {
            let value = HeaderValue::from_static(text);
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value)]))
        };
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("18446744073709551615"), Some(MOST_RETRY_AFTER));
        assert_eq!(wait("soon"), None);
    }

    fn transport(addr: &str) -> Result<Transport, VaultError> {
        Transport::new(&VaultSettings::new(addr))
    }

    #[test]
    fn a_token_is_never_sent_in_the_clear() {
        for addr in [
            "http://127.0.0.1:8200",
            "http://[::1]:8200",
            "http://localhost:8200",
        ] {
            assert!(transport(addr).is_ok(), "{addr}");
        }
        for addr in [
            "http://vault.example",
            "http://10.0.0.1",
            "ftp://vault",
            "vault:8200",
            "",
            "https://",
        ] {
            let error = transport(addr).err().unwrap();
            assert!(
                matches!(error, VaultError::Address { .. }),
                "{addr}: {error}"
            );
        }
    }

    #[test]
    fn a_path_stays_below_v1() {
        let transport = transport("https://vault.example/behind/a/proxy/").unwrap();
        let url = transport.url(&Request::new(Method::GET, "database/creds/a?b", None));
        assert_eq!(
            url.as_str(),
            "https://vault.example/behind/a/proxy/v1/database/creds/a%3Fb"
        );
    }

    #[test]
    fn the_reason_is_read_also_from_what_is_not_vault() {
        assert_eq!(message_of(br#"{"errors":["a\nb","c"]}"#), "a b; c");
        assert_eq!(message_of(br#"{"errors":[]}"#), "no reason given");
        assert_eq!(message_of(b"<html>502"), "<html>502");
    }

    #[test]
    fn a_reason_cannot_control_a_terminal() {
        let hostile = "a\u{1b}[2J\u{7}\u{9b}b\u{202e}c\u{2066}d\u{200f}e\r\nf";
        let errors = serde_json::json!({ "errors": [hostile] }).to_string();
        for body in [errors.as_bytes(), hostile.as_bytes()] {
            let message = message_of(body);
            assert_eq!(message, r"a\x1b[2J\x07\u009bb\u202ec\u2066d\u200fe  f");
        }
    }
}
