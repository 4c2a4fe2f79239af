//! Check: is the server's certificate trusted, and for how long?

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use vctl_common::time::wall_now;
use vctl_common::tls::{TlsProblem, Trust, client_config};

use super::CheckResult;
use super::certificate::{self, CertificateInfo};
use super::server_kind::{ServerKind, connect};
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::ui::time;

const PATIENCE: Duration = Duration::from_secs(10);
/// Remaining validity below which a warning is given: time to replace the certificate by hand.
const EXPIRES_SOON: Duration = Duration::from_hours(14 * 24);

pub(super) async fn check(
    address: SocketAddr,
    name: &str,
    trust: &Trust,
    kind: ServerKind,
) -> CheckResult<()> {
    let config = match client_config(trust) {
        Ok(config) => config,
        Err(error) => {
            let hint = match kind {
                ServerKind::Vault => {
                    "`VCTL_VAULT_CA_CERT` must name a PEM file with the CA that signed Vault's certificate"
                }
                ServerKind::Postgres => {
                    "`VCTL_DB_CA_CERT` must name a PEM file with the CA that signed Postgres' certificate"
                }
            };
            let new = CliError::new(Exit::Config, "the trusted CAs cannot be used");
            return CheckResult::failed(crate::error::Stop::from(new.caused_by(&error).hint(hint)));
        }
    };
    let Ok(server_name) = ServerName::try_from(name.to_owned()) else {
        let found = format!("`{name}` is not a valid name for a certificate");
        return CheckResult::fail(Exit::Config, found, kind.hint(TlsProblem::Name));
    };
    let shaken = timeout(PATIENCE, shake_hands(address, &server_name, config, kind)).await;
    let found = match shaken {
        Ok(Ok(shown)) => HandshakeResult::Trusted(shown),
        Ok(Err(error)) => match TlsProblem::find(&error) {
            Some(problem) => {
                let look = certificate::fetch_untrusted(address, &server_name, kind);
                let shown = timeout(PATIENCE, look).await.ok().flatten();
                HandshakeResult::Untrusted(problem, shown)
            }
            None => HandshakeResult::Broken(error),
        },
        Err(_) => HandshakeResult::Silent,
    };
    judge(name, kind, found, wall_now())
}

#[derive(Debug)]
enum HandshakeResult {
    Trusted(Option<CertificateInfo>),
    Untrusted(TlsProblem, Option<CertificateInfo>),
    /// The server does not speak TLS.
    Broken(io::Error),
    Silent,
}

async fn shake_hands(
    address: SocketAddr,
    name: &ServerName<'static>,
    config: ClientConfig,
    kind: ServerKind,
) -> io::Result<Option<CertificateInfo>> {
    let tcp = connect(address, kind).await?;
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name.clone(), tcp).await?;
    let (_, session) = stream.get_ref();
    let shown = session
        .peer_certificates()
        .and_then(|chain| CertificateInfo::parse(chain.first()?));
    // A clean shutdown, so that the server does not log a broken connection.
    let _ = stream.shutdown().await;
    Ok(shown)
}

/// Returns the remaining validity of a certificate in words.
fn remaining(left: Duration) -> String {
    const LONG: Duration = Duration::from_hours(10 * 365 * 24);
    if left < LONG {
        time::duration(left)
    } else {
        "more than 10 years".to_owned()
    }
}

fn judge(name: &str, kind: ServerKind, found: HandshakeResult, now: SystemTime) -> CheckResult<()> {
    let server = kind.server();
    match found {
        HandshakeResult::Trusted(None) => CheckResult::pass(format!("trusted as `{name}`"), ()),
        HandshakeResult::Trusted(Some(shown)) => {
            let left = shown.not_after.duration_since(now).unwrap_or_default();
            let found = format!(
                "trusted as `{name}`, signed by {}, valid for {}",
                shown.issuer,
                remaining(left)
            );
            if left < EXPIRES_SOON {
                let fix = format!("get {server} a new certificate");
                return CheckResult::warn(found, fix, ());
            }
            CheckResult::pass(found, ())
        }
        HandshakeResult::Untrusted(problem, shown) => {
            let mut found = format!("not trusted as `{name}`: {problem}");
            if let Some(shown) = shown {
                found.push_str(&explanation(problem, &shown));
            }
            CheckResult::fail(Exit::Unavailable, found, kind.hint(problem))
        }
        HandshakeResult::Broken(error) => {
            let found = format!("the server does not speak TLS as {server} does: {error}");
            let fix = match kind {
                ServerKind::Vault => "check `VCTL_VAULT_ADDR`: is that the port of Vault?",
                ServerKind::Postgres => {
                    "check `VCTL_DB_PORT`; if the server is Postgres, set `ssl = on` in its postgresql.conf"
                }
            };
            CheckResult::fail(Exit::Unavailable, found, fix)
        }
        HandshakeResult::Silent => {
            let found = format!(
                "the server accepted the connection, then sent nothing for {} s",
                PATIENCE.as_secs()
            );
            let fix =
                format!("check that {server} listens there, and is not stopped or overloaded");
            CheckResult::fail(Exit::Unavailable, found, fix)
        }
    }
}

/// Returns the part of the certificate that explains the problem.
fn explanation(problem: TlsProblem, shown: &CertificateInfo) -> String {
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

    fn shown(days: u32) -> CertificateInfo {
        CertificateInfo {
            names: vec!["a.example".to_owned(), "b.example".to_owned()],
            issuer: "CN=ours".to_owned(),
            not_before: UNIX_EPOCH,
            not_after: UNIX_EPOCH + DAY * days,
        }
    }

    fn judged(found: HandshakeResult, day: u32) -> CheckResult<()> {
        judge(
            "c.example",
            ServerKind::Vault,
            found,
            UNIX_EPOCH + DAY * day,
        )
    }

    #[test]
    fn certificate_that_expires_within_two_weeks_is_a_warning() {
        let at = |day| judged(HandshakeResult::Trusted(Some(shown(100))), day);
        assert!(matches!(at(86), CheckResult::Pass { .. }));
        assert!(matches!(at(87), CheckResult::Warn { .. }));
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
            let finding = judged(HandshakeResult::Untrusted(problem, Some(shown(100))), 1);
            let CheckResult::Fail { exit, found, .. } = finding else {
                panic!("{finding:?}");
            };
            assert_eq!(exit, Exit::Unavailable);
            assert!(found.ends_with(said), "{found}");
        }
    }
}
