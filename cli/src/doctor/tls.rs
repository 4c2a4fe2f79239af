//! Check: is the server's certificate trusted, and for how long?

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use vctl_common::time::wall_now;
use vctl_common::tls::{TlsProblem, Trust, client_config};
use vctl_common::{pg, vault};

use super::Finding;
use super::certificate::{self, Shown};
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::ui::time;

const PATIENCE: Duration = Duration::from_secs(10);
/// Remaining validity below which a warning is given: time to replace the certificate by hand.
const EXPIRES_SOON: Duration = Duration::from_hours(14 * 24);

/// The protocol that comes before TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    Vault,
    Postgres,
}

impl Greeting {
    fn server(self) -> &'static str {
        match self {
            Self::Vault => "Vault",
            Self::Postgres => "Postgres",
        }
    }

    fn hint(self, problem: TlsProblem) -> &'static str {
        match self {
            Self::Vault => vault::tls_hint(problem),
            Self::Postgres => pg::tls_hint(problem),
        }
    }
}

pub(super) async fn probe(
    address: SocketAddr,
    name: &str,
    trust: &Trust,
    greeting: Greeting,
) -> Finding<()> {
    let config = match client_config(trust) {
        Ok(config) => config,
        Err(error) => {
            let hint = match greeting {
                Greeting::Vault => {
                    "`VCTL_VAULT_CA_CERT` must name a PEM file with the CA that signed Vault's certificate"
                }
                Greeting::Postgres => {
                    "`VCTL_DB_CA_CERT` must name a PEM file with the CA that signed Postgres' certificate"
                }
            };
            let new = CliError::new(Exit::Config, "the trusted CAs cannot be used");
            return Finding::failed(crate::error::Stop::from(new.caused_by(&error).hint(hint)));
        }
    };
    let Ok(server_name) = ServerName::try_from(name.to_owned()) else {
        let found = format!("`{name}` is not a valid name for a certificate");
        return Finding::fail(Exit::Config, found, greeting.hint(TlsProblem::Name));
    };
    let shaken = timeout(PATIENCE, shake(address, &server_name, config, greeting)).await;
    let found = match shaken {
        Ok(Ok(shown)) => Found::Believed(shown),
        Ok(Err(error)) => match TlsProblem::find(&error) {
            Some(problem) => {
                let look = certificate::look(address, &server_name, greeting);
                let shown = timeout(PATIENCE, look).await.ok().flatten();
                Found::NotBelieved(problem, shown)
            }
            None => Found::Broken(error),
        },
        Err(_) => Found::Silent,
    };
    judge(name, greeting, found, wall_now())
}

#[derive(Debug)]
enum Found {
    Believed(Option<Shown>),
    NotBelieved(TlsProblem, Option<Shown>),
    /// The server does not speak TLS.
    Broken(io::Error),
    Silent,
}

async fn shake(
    address: SocketAddr,
    name: &ServerName<'static>,
    config: ClientConfig,
    greeting: Greeting,
) -> io::Result<Option<Shown>> {
    let tcp = greet(address, greeting).await?;
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name.clone(), tcp).await?;
    let (_, session) = stream.get_ref();
    let shown = session
        .peer_certificates()
        .and_then(|chain| Shown::of(chain.first()?));
    // A clean shutdown, so that the server does not log a broken connection.
    let _ = stream.shutdown().await;
    Ok(shown)
}

/// Connects, and does everything that comes before TLS.
pub(super) async fn greet(address: SocketAddr, greeting: Greeting) -> io::Result<TcpStream> {
    let mut tcp = TcpStream::connect(address).await?;
    if greeting == Greeting::Postgres {
        // SSLRequest: its length and its code.
        tcp.write_all(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]).await?;
        if tcp.read_u8().await? != b'S' {
            return Err(io::Error::other(
                "the server does not offer TLS, so nothing was sent to it",
            ));
        }
    }
    Ok(tcp)
}

/// Returns the remaining validity of a certificate in words.
fn lasting(left: Duration) -> String {
    const LONG: Duration = Duration::from_hours(10 * 365 * 24);
    if left < LONG {
        time::duration(left)
    } else {
        "more than 10 years".to_owned()
    }
}

fn judge(name: &str, greeting: Greeting, found: Found, now: SystemTime) -> Finding<()> {
    let server = greeting.server();
    match found {
        Found::Believed(None) => Finding::pass(format!("trusted as `{name}`"), ()),
        Found::Believed(Some(shown)) => {
            let left = shown.not_after.duration_since(now).unwrap_or_default();
            let found = format!(
                "trusted as `{name}`, signed by {}, valid for {}",
                shown.issuer,
                lasting(left)
            );
            if left < EXPIRES_SOON {
                let fix = format!("get {server} a new certificate");
                return Finding::warn(found, fix, ());
            }
            Finding::pass(found, ())
        }
        Found::NotBelieved(problem, shown) => {
            let mut found = format!("not trusted as `{name}`: {problem}");
            if let Some(shown) = shown {
                found.push_str(&which(problem, &shown));
            }
            Finding::fail(Exit::Unavailable, found, greeting.hint(problem))
        }
        Found::Broken(error) => {
            let found = format!("the server does not speak TLS as {server} does: {error}");
            let fix = match greeting {
                Greeting::Vault => "check `VCTL_VAULT_ADDR`: is that the port of Vault?",
                Greeting::Postgres => {
                    "check `VCTL_DB_PORT`; if the server is Postgres, set `ssl = on` in its postgresql.conf"
                }
            };
            Finding::fail(Exit::Unavailable, found, fix)
        }
        Found::Silent => {
            let found = format!(
                "the server accepted the connection, then sent nothing for {} s",
                PATIENCE.as_secs()
            );
            let fix =
                format!("check that {server} listens there, and is not stopped or overloaded");
            Finding::fail(Exit::Unavailable, found, fix)
        }
    }
}

/// Returns the part of the certificate that explains the problem.
fn which(problem: TlsProblem, shown: &Shown) -> String {
    match problem {
        TlsProblem::Authority => format!(", {}", shown.issuer),
        TlsProblem::Name if shown.names.is_empty() => ", and has none".to_owned(),
        TlsProblem::Name => format!(", `{}`", shown.names.join("`, `")),
        TlsProblem::Expired => format!(", at {}", time::seconds(shown.not_after)),
        TlsProblem::NotYetValid => format!(", but from {}", time::seconds(shown.not_before)),
        TlsProblem::NoTls | TlsProblem::Other => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn shown(days: u32) -> Shown {
        Shown {
            names: vec!["a.example".to_owned(), "b.example".to_owned()],
            issuer: "CN=ours".to_owned(),
            not_before: UNIX_EPOCH,
            not_after: UNIX_EPOCH + DAY * days,
        }
    }

    fn judged(found: Found, day: u32) -> Finding<()> {
        judge("c.example", Greeting::Vault, found, UNIX_EPOCH + DAY * day)
    }

    #[test]
    fn certificate_that_expires_within_two_weeks_is_a_warning() {
        let at = |day| judged(Found::Believed(Some(shown(100))), day);
        assert!(matches!(at(86), Finding::Pass { .. }));
        assert!(matches!(at(87), Finding::Warn { .. }));
    }

    #[test]
    fn untrusted_certificate_is_shown_with_the_reason() {
        for (problem, said) in [
            (
                TlsProblem::Name,
                "for another name, `a.example`, `b.example`",
            ),
            (TlsProblem::Expired, "has expired, at 1970-04-11T00:00:00Z"),
            (TlsProblem::Authority, "not trusted, CN=ours"),
        ] {
            let finding = judged(Found::NotBelieved(problem, Some(shown(100))), 1);
            let Finding::Fail { exit, found, .. } = finding else {
                panic!("{finding:?}");
            };
            assert_eq!(exit, Exit::Unavailable);
            assert!(found.ends_with(said), "{found}");
        }
    }
}
