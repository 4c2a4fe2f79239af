//! Forwarding arguments in OpenSSH's syntax: `[BIND:]PORT:HOST:PORT`, with IPv6 addresses in brackets.

use std::fmt;
use std::str::FromStr;

/// A host and a port; the side that connects resolves the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// `-L`: forwards a local port to an address that the remote host connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalForward {
    pub(crate) listen: Endpoint,
    pub(crate) to: Endpoint,
}

/// `-R`: forwards a port of the remote host to an address that vctl connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteForward {
    pub(crate) listen: Endpoint,
    pub(crate) to: Endpoint,
}

/// `-D`: a local SOCKS5 server, which connects from the remote host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SocksForward {
    pub(crate) listen: Endpoint,
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match &*parts(text)? {
            [host, port] => endpoint(host, port),
            _ => Err("expected HOST:PORT".to_owned()),
        }
    }
}

impl FromStr for LocalForward {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (listen, to) = pair(text)?;
        Ok(Self { listen, to })
    }
}

impl FromStr for RemoteForward {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (listen, to) = pair(text)?;
        Ok(Self { listen, to })
    }
}

impl FromStr for SocksForward {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let listen = match &*parts(text)? {
            [port] => listener("", port)?,
            [bind, port] => listener(bind, port)?,
            _ => return Err("expected [BIND:]PORT".to_owned()),
        };
        Ok(Self { listen })
    }
}

fn pair(text: &str) -> Result<(Endpoint, Endpoint), String> {
    match &*parts(text)? {
        [port, host, to] => Ok((listener("", port)?, endpoint(host, to)?)),
        [bind, port, host, to] => Ok((listener(bind, port)?, endpoint(host, to)?)),
        _ => Err("expected [BIND:]PORT:HOST:PORT".to_owned()),
    }
}

/// Returns the listening address: the loopback address by default, all addresses for `*`.
fn listener(bind: &str, port: &str) -> Result<Endpoint, String> {
    let host = match bind {
        "" => "localhost",
        "*" => "",
        bind => bind,
    };
    let port = port
        .parse()
        .map_err(|_| format!("`{port}` is not a port"))?;
    let host = host.to_owned();
    Ok(Endpoint { host, port })
}

fn endpoint(host: &str, port: &str) -> Result<Endpoint, String> {
    if host.is_empty() {
        return Err("the host to connect to is missing".to_owned());
    }
    let number = port.parse().ok().filter(|&port| port != 0);
    let port = number.ok_or_else(|| format!("`{port}` is not a port to connect to"))?;
    let host = host.to_owned();
    Ok(Endpoint { host, port })
}

/// Splits at colons outside brackets, and removes the brackets.
fn parts(text: &str) -> Result<Vec<&str>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let (part, after) = if let Some(inner) = rest.strip_prefix('[') {
            let (part, after) = inner.split_once(']').ok_or("a bracket is not closed")?;
            (part, after)
        } else {
            let end = rest.find(':').unwrap_or(rest.len());
            rest.split_at(end)
        };
        parts.push(part);
        if after.is_empty() {
            return Ok(parts);
        }
        rest = after
            .strip_prefix(':')
            .ok_or("a colon is missing after a bracket")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Endpoint {
        let host = host.to_owned();
        Endpoint { host, port }
    }

    #[test]
    fn arguments_are_parsed_as_in_openssh() {
        for (text, listen, to) in [
            ("8080:web:80", at("localhost", 8080), at("web", 80)),
            ("*:8080:web:80", at("", 8080), at("web", 80)),
            (
                "[::1]:8080:[fd00::1]:80",
                at("::1", 8080),
                at("fd00::1", 80),
            ),
            ("0:127.0.0.1:80", at("localhost", 0), at("127.0.0.1", 80)),
        ] {
            let local: LocalForward = text.parse().unwrap();
            assert_eq!((local.listen, local.to), (listen, to), "{text}");
        }
        let proxy: SocksForward = "1080".parse().unwrap();
        assert_eq!(proxy.listen, at("localhost", 1080));
        let stdio: Endpoint = "[fd00::1]:22".parse().unwrap();
        assert_eq!(stdio, at("fd00::1", 22));
        assert_eq!(stdio.to_string(), "[fd00::1]:22");
    }

    #[test]
    fn invalid_arguments_are_refused() {
        for text in [
            "",
            "80",
            "80:web",
            "x:web:80",
            "80:web:0",
            "80::80",
            "[::1:80:web:80",
            "[::1]80:web:80",
            "1:2:3:4:5",
            "65536:web:80",
        ] {
            assert!(text.parse::<LocalForward>().is_err(), "{text}");
        }
        for text in ["", "a:b:c", "host:0", "host:x"] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
        assert!("".parse::<SocksForward>().is_err());
    }
}
