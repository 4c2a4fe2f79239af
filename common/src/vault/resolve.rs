//! Resolves the server's name to the address that answers first.
//!
//! hyper's own connector divides its timeout among the addresses of a family, so one unreachable
//! address costs seconds. reqwest accepts no other connector, but it accepts a resolver that
//! returns a reachable address.

use std::io;
use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;

use crate::dial;

/// Resolver for the server of one URL.
pub(super) struct Answering {
    host: String,
    port: u16,
}

impl Answering {
    pub(super) fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
        }
    }
}

impl Resolve for Answering {
    fn resolve(&self, name: Name) -> Resolving {
        // A redirect may lead to another server, whose port is not known here.
        let same = name.as_str().eq_ignore_ascii_case(&self.host);
        let port = if same { self.port } else { 0 };
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = lookup_host((name.as_str(), port)).await?.collect();
            let addresses = if same {
                answering(addresses).await?
            } else {
                addresses
            };
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}

async fn answering(addresses: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
    if addresses.len() < 2 {
        return Ok(addresses);
    }
    // The connector's error would name only one address.
    let stream = dial::first(addresses).await?;
    Ok(vec![stream.peer_addr()?])
}
