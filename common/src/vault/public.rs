//! Requests without a token: server status, and the public key of the SSH CA.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use tracing::Instrument as _;

use super::http::{self, Request, Transport};
use super::{Method, VaultError};
use crate::centre::VaultSettings;
use crate::secret::Secret;
use crate::spans;

/// Host and port of a server, from its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an IP address, without brackets.
    pub host: String,
    pub port: u16,
    /// False for plain http, which is used only with this machine.
    pub tls: bool,
}

impl Endpoint {
    /// # Errors
    /// `Address`, as for every request to such a server.
    pub fn of(settings: &VaultSettings) -> Result<Self, VaultError> {
        let url = http::base(settings)?;
        let host = url.host_str().unwrap_or_default();
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port_or_known_default().unwrap_or_default(),
            tls: url.scheme() == "https",
        })
    }
}

/// Status that a server reports.
#[derive(Clone, Debug)]
pub struct Health {
    pub initialized: bool,
    pub sealed: bool,
    pub standby: bool,
    pub version: String,
    /// Whole seconds; the server answered at this time or up to one second later.
    pub server_time: SystemTime,
}

/// Asks a server for its status.
///
/// # Errors
/// `Answer`, `NotFound` and `Http` for a server that is not Vault.
pub async fn health(settings: &VaultSettings) -> Result<Health, VaultError> {
    #[derive(Deserialize)]
    struct Answer {
        initialized: bool,
        sealed: bool,
        standby: bool,
        version: String,
        server_time_utc: u64,
    }
    let mut request = Request::new(Method::GET, "sys/health", None);
    // Otherwise each state has its own status code, and proxies use these codes, too.
    for name in ["standbyok", "perfstandbyok"] {
        request = request.query(name, &Secret::new("true".to_owned()));
    }
    for name in ["sealedcode", "uninitcode", "drsecondarycode"] {
        request = request.query(name, &Secret::new("200".to_owned()));
    }
    let answer = send(settings, &request).await?;
    let answer: Answer = request.read(&answer)?;
    Ok(Health {
        initialized: answer.initialized,
        sealed: answer.sealed,
        standby: answer.standby,
        version: answer.version,
        server_time: UNIX_EPOCH + Duration::from_secs(answer.server_time_utc),
    })
}

/// Returns the public key of the SSH authority, as a line of `authorized_keys`.
pub async fn ssh_public_key(settings: &VaultSettings) -> Result<String, VaultError> {
    let path = format!("{}/public_key", settings.ssh_mount);
    let request = Request::new(Method::GET, &path, None);
    let answer = send(settings, &request).await?;
    // The only answer of Vault that is not JSON.
    Ok(String::from_utf8_lossy(&answer).trim().to_owned())
}

async fn send(settings: &VaultSettings, request: &Request) -> Result<Vec<u8>, VaultError> {
    let transport = Transport::new(settings)?;
    let sent = transport.send(None, request);
    sent.instrument(spans::query()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for (addr, host, port, tls) in [
            ("https://vault.example", "vault.example", 443, true),
            (
                "https://vault.example:8200/behind/a/proxy",
                "vault.example",
                8200,
                true,
            ),
            ("https://[2001:db8::1]:8200", "2001:db8::1", 8200, true),
            ("http://127.0.0.1:8200", "127.0.0.1", 8200, false),
        ] {
            let endpoint = Endpoint::of(&VaultSettings::new(addr)).unwrap();
            let expected = Endpoint {
                host: host.to_owned(),
                port,
                tls,
            };
            assert_eq!(endpoint, expected);
        }
    }
}
