//! Addresses of the server's name, the one that answers first.
//!
//! hyper's own connector divides its deadline by the addresses of a family, so one that leads nowhere costs seconds.
//! A connector of ours cannot take its place in reqwest, but a resolver can say which address is good.

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
        // A server that redirects may name another, whose port is not known here.
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
    // The connector would name one address only.
    let stream = dial::first(addresses).await?;
    Ok(vec![stream.peer_addr()?])
}
