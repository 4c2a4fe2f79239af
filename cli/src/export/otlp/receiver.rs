//! Sends records to a receiver, until it has acknowledged them.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message as _;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use url::Url;
use vctl_common::backoff::Backoff;
use vctl_common::tls::{self, Trust};
use vctl_common::vault::is_loopback;

use super::message;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::export::ecs::Record;
use crate::ui::notice;

const TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum pause that a receiver may ask for.
const MOST_RETRY_AFTER: Duration = Duration::from_mins(10);
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// Attempts of an export that does not follow.
const ATTEMPTS: u32 = 5;
/// Maximum size of a request with several records. Collectors accept 20 MiB.
const MOST_BYTES: usize = 4 << 20;
const PROTOBUF: &str = "application/x-protobuf";

/// An OTLP receiver of logs.
pub(crate) struct Receiver {
    http: reqwest::Client,
    url: Url,
    /// Host and port, for messages: a path may have a secret.
    name: String,
    headers: HeaderMap,
    /// Whether to try again until the receiver is back.
    is_patient: bool,
}

/// The result of one attempt.
enum Attempt {
    Acknowledged,
    /// The receiver takes smaller requests.
    TooLarge(CliError),
    Retry {
        after: Option<Duration>,
        error: CliError,
    },
}

impl Receiver {
    /// Builds a client for `url`. Reads headers and the CA from the environment variables of OpenTelemetry.
    ///
    /// # Errors
    /// The URL, a header or the CA cannot be used.
    pub(crate) fn new(url: &str, is_patient: bool) -> Result<Self, CliError> {
        let url = logs_url(url)?;
        let name = name_of(&url);
        let ca = env::var_os("OTEL_EXPORTER_OTLP_CERTIFICATE").map(PathBuf::from);
        let config = |error: &dyn std::error::Error| {
            let message = format!("cannot prepare the connection to the receiver `{name}`");
            CliError::new(Exit::Config, message)
                .caused_by(error)
                .hint("the environment variable OTEL_EXPORTER_OTLP_CERTIFICATE names the CA")
        };
        let tls = tls::client_config(&Trust::of_file(ca)).map_err(|error| config(&error))?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            // The environment must not choose a proxy that sees the records.
            .no_proxy()
            // A redirect could lead to another receiver.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(TIMEOUT)
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| config(&error))?;
        let headers = env::var("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default();
        Ok(Self {
            http,
            url,
            name,
            headers: parsed(&headers)?,
            is_patient,
        })
    }

    /// Sends the records, in parts if they are large.
    ///
    /// # Errors
    /// The receiver refused them, or cannot be reached and the export does not follow.
    pub(crate) async fn send(&self, records: &[Record]) -> Result<(), Stop> {
        let request = message::request(records);
        let bytes = request.encoded_len();
        if bytes > MOST_BYTES && records.len() > 1 {
            return self.send_halves(records).await;
        }
        let body = request.encode_to_vec();
        let mut pauses = Backoff::new(RETRY.0, RETRY.1);
        let mut attempts = 1;
        loop {
            match self.attempt(body.clone(), records.len()).await? {
                Attempt::Acknowledged => break,
                Attempt::TooLarge(_) if records.len() > 1 => {
                    return self.send_halves(records).await;
                }
                Attempt::TooLarge(error) => return Err(error.into()),
                Attempt::Retry { error, .. } if !self.is_patient && attempts == ATTEMPTS => {
                    return Err(error.into());
                }
                Attempt::Retry { after, error } => {
                    if !pauses.is_failing() {
                        let reason = error.one_line();
                        notice::note(&format!(
                            "events cannot be sent now: {reason}; the export tries again"
                        ));
                    }
                    tokio::time::sleep(longer(pauses.next_pause(), after)).await;
                    attempts += 1;
                }
            }
        }
        if pauses.is_failing() {
            notice::note(&format!("the receiver `{}` takes events again", self.name));
        }
        Ok(())
    }

    async fn send_halves(&self, records: &[Record]) -> Result<(), Stop> {
        let (first, second) = records.split_at(records.len() / 2);
        Box::pin(self.send(first)).await?;
        Box::pin(self.send(second)).await
    }

    async fn attempt(&self, body: Vec<u8>, count: usize) -> Result<Attempt, Stop> {
        let sent = self
            .http
            .post(self.url.clone())
            .headers(self.headers.clone())
            .header(CONTENT_TYPE, PROTOBUF)
            .body(body)
            .send()
            .await;
        let unreachable = |error: reqwest::Error| {
            let message = format!("the receiver `{}` cannot be reached", self.name);
            let error = CliError::new(Exit::Unavailable, message).caused_by(&error.without_url());
            Attempt::Retry {
                after: None,
                error: error.hint("is an OTLP/HTTP receiver running there? Its usual port is 4318"),
            }
        };
        let answer = match sent {
            Ok(answer) => answer,
            Err(error) => return Ok(unreachable(error)),
        };
        let status = answer.status();
        if !status.is_success() {
            return self.refused(answer).await;
        }
        let kind = answer.headers().get(CONTENT_TYPE).cloned();
        let body = match answer.bytes().await {
            Ok(body) => body,
            Err(error) => return Ok(unreachable(error)),
        };
        let is_protobuf = kind.is_some_and(|kind| kind.as_bytes().starts_with(PROTOBUF.as_bytes()));
        let decoded = ExportLogsServiceResponse::decode(body.clone());
        let Some(response) = decoded.ok().filter(|_| is_protobuf || body.is_empty()) else {
            let message = format!("the answer of `{}` is not an answer of OTLP", self.name);
            let hint = "`--otlp` needs the address of an OTLP/HTTP receiver, for example https://collector:4318";
            return Err(CliError::new(Exit::Failure, message).hint(hint).into());
        };
        // The protocol forbids to send rejected records again.
        if let Some(partial) = response.partial_success
            && partial.rejected_log_records > 0
        {
            notice::note(&format!(
                "the receiver `{}` rejected {} of {count} events: {}",
                self.name, partial.rejected_log_records, partial.error_message
            ));
        }
        Ok(Attempt::Acknowledged)
    }

    async fn refused(&self, answer: Response) -> Result<Attempt, Stop> {
        let status = answer.status();
        let after = answer.headers().get(RETRY_AFTER);
        let after = after.and_then(|after| after.to_str().ok()?.trim().parse().ok());
        let body = answer.bytes().await.unwrap_or_default();
        let body: String = String::from_utf8_lossy(&body).chars().take(200).collect();
        let message = format!("the receiver `{}` answered {status}", self.name);
        // The statuses that the protocol calls retryable.
        let is_temporary = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        if is_temporary {
            let error = CliError::new(Exit::TryAgain, message);
            let after = after.map(Duration::from_secs);
            return Ok(Attempt::Retry { after, error });
        }
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            let hint = "one event is larger than the receiver's limit: raise that limit";
            let error = CliError::new(Exit::Failure, message).hint(hint);
            return Ok(Attempt::TooLarge(error));
        }
        let (exit, hint) = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (
                Exit::Permission,
                "set the header in the environment variable OTEL_EXPORTER_OTLP_HEADERS, for example \
                 `Authorization=Bearer%20TOKEN`"
                    .to_owned(),
            ),
            _ if body.trim().is_empty() => {
                (Exit::Failure, "is it the address of an OTLP/HTTP receiver?".to_owned())
            }
            _ => (Exit::Failure, format!("its answer: {}", body.trim())),
        };
        Err(CliError::new(exit, message).hint(hint).into())
    }
}

/// Returns the longer one of our pause and the pause that the receiver asks for.
fn longer(pause: Duration, after: Option<Duration>) -> Duration {
    after.map_or(pause, |after| after.min(MOST_RETRY_AFTER).max(pause))
}

/// Returns the host and the port of the URL.
fn name_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}"));
    format!("{host}{}", port.unwrap_or_default())
}

/// Returns the address for logs below the address of a receiver. No error has the whole URL, which may have a password
/// or a token.
fn logs_url(text: &str) -> Result<Url, CliError> {
    let refused = |message: String| {
        let hint = "`--otlp https://collector.example:4318`";
        CliError::new(Exit::Usage, message).hint(hint)
    };
    let mut url: Url = text
        .parse()
        .map_err(|_| refused("the value of `--otlp` is not a URL".to_owned()))?;
    let name = name_of(&url);
    let wrong = |why: &str| refused(format!("cannot send events to `{name}`: {why}"));
    let host = url
        .host_str()
        .ok_or_else(|| refused("the URL of `--otlp` has no host".to_owned()))?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(host) => {}
        "http" => {
            return Err(wrong(
                "without TLS the events would be sent in the clear; plain http is accepted only on this machine",
            ));
        }
        _ => return Err(wrong("it is not `https`")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("put credentials into OTEL_EXPORTER_OTLP_HEADERS"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong(
            "the URL has a query or a fragment; put a token into OTEL_EXPORTER_OTLP_HEADERS",
        ));
    }
    if !url.path().ends_with("/v1/logs") {
        let mut segments = url
            .path_segments_mut()
            .map_err(|()| wrong("it has no path"))?;
        segments.pop_if_empty().extend(["v1", "logs"]);
    }
    Ok(url)
}

/// Parses `name=value,name=value`, with values in percent-encoding, as OpenTelemetry defines it.
fn parsed(headers: &str) -> Result<HeaderMap, CliError> {
    let mut all = HeaderMap::new();
    for pair in headers.split(',').filter(|pair| !pair.trim().is_empty()) {
        let header = pair.split_once('=').and_then(|(name, value)| {
            // A plus stays a plus: this is not the encoding of forms.
            let query = format!("v={}", value.trim().replace('+', "%2B").replace('&', "%26"));
            let (_, value) = url::form_urlencoded::parse(query.as_bytes()).next()?;
            let mut value = HeaderValue::from_str(&value).ok()?;
            // Hides the value in the debug output of the HTTP library.
            value.set_sensitive(true);
            Some((name.trim().parse::<HeaderName>().ok()?, value))
        });
        let Some((name, value)) = header else {
            let message = "the environment variable OTEL_EXPORTER_OTLP_HEADERS has a part that is not NAME=VALUE";
            let hint = "separate headers by commas, and write a blank in a value as %20";
            return Err(CliError::new(Exit::Config, message).hint(hint));
        };
        all.insert(name, value);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_never_sent_in_the_clear() {
        for (text, expected) in [
            (
                "https://c.example:4318",
                Some("https://c.example:4318/v1/logs"),
            ),
            (
                "https://c.example/otlp/",
                Some("https://c.example/otlp/v1/logs"),
            ),
            (
                "https://c.example/v1/logs",
                Some("https://c.example/v1/logs"),
            ),
            (
                "http://127.0.0.1:4318",
                Some("http://127.0.0.1:4318/v1/logs"),
            ),
            ("http://[::1]:4318", Some("http://[::1]:4318/v1/logs")),
            ("http://c.example:4318", None),
            ("http://127.0.0.1.example", None),
            ("https://user:secret@c.example", None),
            ("ftp://c.example", None),
            ("collector", None),
            ("https://c.example/v1/logs?token=secret", None),
            ("https://c.example/#secret", None),
        ] {
            assert_eq!(
                logs_url(text).ok().map(String::from).as_deref(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn errors_about_a_url_have_no_secret_of_it() {
        for text in [
            "https://secret:secret@c.example/secret",
            "https://c.example/secret?token=secret",
            "http://secret@c.example/secret",
            "ftp://secret@c.example/secret",
            "secret",
            "unix:/secret",
        ] {
            let error = logs_url(text).unwrap_err();
            assert!(
                !format!("{error:?}").contains("secret"),
                "{text}: {error:?}"
            );
        }
        let url = logs_url("https://c.example:4318/secret").unwrap();
        assert_eq!(name_of(&url), "c.example:4318");
    }

    #[test]
    fn a_receiver_cannot_stop_an_export_for_hours() {
        let (own, secs) = (Duration::from_secs(4), Duration::from_secs);
        assert_eq!(longer(own, None), own);
        assert_eq!(longer(own, Some(secs(1))), own);
        assert_eq!(longer(own, Some(secs(90))), secs(90));
        assert_eq!(longer(own, Some(secs(u64::MAX))), MOST_RETRY_AFTER);
    }

    #[test]
    fn headers_are_those_of_opentelemetry() {
        let all = parsed("Authorization=Bearer%20a+b==, x-tenant = 7").unwrap();
        assert_eq!(all["authorization"], "Bearer a+b==");
        assert_eq!(all["x-tenant"], "7");
        for wrong in ["a", "a b=c", "a=%0a"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
