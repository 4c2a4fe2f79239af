//! Opens one TCP connection to a name that may have several addresses, some of them unreachable.
//!
//! RFC 8305: address families alternate. The next address is tried after a short delay or when one
//! fails, and the first connection is used. The deadline applies to the name, so an unreachable
//! address costs only the delay.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Time before the next address is tried: the Connection Attempt Delay of RFC 8305, section 8.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to the address of `host` that answers first.
///
/// # Errors
/// The name has no address, or no address answered.
pub async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = lookup_host((host, port)).await?.collect();
    first(addresses).await
}

/// Connects to the address that answers first.
///
/// # Errors
/// The list is empty, or no address answered. The error has the kind of the first failure and names
/// the reason of each.
pub async fn first(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut left: VecDeque<SocketAddr> = in_turns(addresses).into();
    let mut attempts = JoinSet::new();
    let mut failures = BTreeMap::new();
    let mut order = 0_usize;
    loop {
        if let Some(address) = left.pop_front() {
            let number = order;
            order += 1;
            attempts.spawn(async move { (number, address, TcpStream::connect(address).await) });
        }
        if attempts.is_empty() {
            return Err(summary(failures.into_values().collect()));
        }
        tokio::select! {
            Some(done) = attempts.join_next() => {
                let (number, address, connected) = done.map_err(io::Error::other)?;
                match connected {
                    Ok(stream) => return Ok(stream),
                    Err(error) => {
                        failures.insert(number, (address, error));
                    }
                }
            }
            () = sleep(ATTEMPT_DELAY), if !left.is_empty() => {}
        }
    }
}

/// Returns one error for all failures: each reason once, after its addresses.
fn summary(mut failures: Vec<(SocketAddr, io::Error)>) -> io::Error {
    if failures.len() == 1
        && let Some((_, only)) = failures.pop()
    {
        return only;
    }
    let Some(kind) = failures.first().map(|(_, error)| error.kind()) else {
        return io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    };
    let mut reasons: Vec<(String, Vec<String>)> = Vec::new();
    for (address, error) in failures {
        let (address, reason) = (address.to_string(), error.to_string());
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, addresses)) => addresses.push(address),
            None => reasons.push((reason, vec![address])),
        }
    }
    let each = reasons.iter();
    let each = each.map(|(reason, addresses)| format!("{}: {reason}", addresses.join(", ")));
    io::Error::new(kind, each.collect::<Vec<_>>().join("; "))
}

/// Alternates the families, beginning with that of the first address; within a family the
/// resolver's order stays.
fn in_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_first_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let all = addresses.len();
    let (first, other): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == is_first_v6);
    let (mut first, mut other) = (first.into_iter(), other.into_iter());
    let mut turns = Vec::with_capacity(all);
    while turns.len() < all {
        turns.extend(first.next());
        turns.extend(other.next());
    }
    turns
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns() {
        let mixed = addresses(&[
            "[::1]:1",
            "[::2]:1",
            "[::3]:1",
            "127.0.0.1:1",
            "127.0.0.2:1",
        ]);
        let wanted = addresses(&[
            "[::1]:1",
            "127.0.0.1:1",
            "[::2]:1",
            "127.0.0.2:1",
            "[::3]:1",
        ]);
        assert_eq!(in_turns(mixed), wanted);
        let v4_first = addresses(&["127.0.0.1:1", "[::1]:1"]);
        assert_eq!(in_turns(v4_first.clone()), v4_first);
        assert_eq!(in_turns(Vec::new()), []);
    }

    /// Returns a port whose queue of connections is full, so that another connection gets no
    /// answer. The sockets keep the queue full.
    async fn silent() -> (SocketAddr, Vec<TcpStream>, TcpListener) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        let short = Duration::from_millis(100);
        while let Ok(Ok(stream)) = tokio::time::timeout(short, TcpStream::connect(address)).await {
            queued.push(stream);
        }
        (address, queued, listener)
    }

    #[tokio::test]
    async fn addresses_that_lead_nowhere_cost_a_delay_each() {
        let (nowhere, _queued, _listener) = silent().await;
        let there = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = there.local_addr().unwrap();
        // A single address would take the system's timeout of minutes.
        let within = Duration::from_mins(1);
        let connected = first(vec![nowhere, nowhere, nowhere, there]);
        let stream = tokio::time::timeout(within, connected).await.unwrap();
        assert_eq!(stream.unwrap().peer_addr().unwrap(), there);
    }

    #[tokio::test]
    async fn a_refused_address_gives_way_to_the_next() {
        let refused = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refused_at = refused.local_addr().unwrap();
        drop(refused);
        let there = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = there.local_addr().unwrap();
        let stream = first(vec![refused_at, refused_at, there]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), there);
        let error = first(vec![refused_at, refused_at]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(
            first(Vec::new()).await.unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
