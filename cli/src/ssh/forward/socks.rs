//! SOCKS5 as far as `-D` needs it: no authentication, CONNECT only. RFC 1928.
//!
//! fast-socks5 was considered: most of it is a client and authentication, which are not needed
//! here.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::Endpoint;

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const NOTHING_ACCEPTABLE: u8 = 0xff;
const CONNECT: u8 = 1;

/// Reply codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Connected = 0,
    Refused = 5,
    CommandUnknown = 7,
    AddressUnknown = 8,
}

/// Reads the destination from the client.
///
/// # Errors
/// The client does not speak SOCKS5, or requests something unsupported, and was sent an error reply.
pub(super) async fn wanted<S>(client: &mut S) -> io::Result<Endpoint>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let [version, methods] = take(client).await?;
    if version != VERSION {
        return Err(io::Error::other("the client does not speak SOCKS5"));
    }
    let mut offered = vec![0; methods.into()];
    client.read_exact(&mut offered).await?;
    if !offered.contains(&NO_AUTHENTICATION) {
        client.write_all(&[VERSION, NOTHING_ACCEPTABLE]).await?;
        return Err(io::Error::other("the client requires authentication"));
    }
    client.write_all(&[VERSION, NO_AUTHENTICATION]).await?;
    let [_, command, _, kind] = take(client).await?;
    let host = match kind {
        1 => Ipv4Addr::from(take(client).await?).to_string(),
        4 => Ipv6Addr::from(take(client).await?).to_string(),
        3 => {
            let [length] = take(client).await?;
            let mut name = vec![0; length.into()];
            client.read_exact(&mut name).await?;
            String::from_utf8(name).map_err(|_| io::Error::other("the host name is not UTF-8"))?
        }
        _ => {
            answer(client, Answer::AddressUnknown).await?;
            return Err(io::Error::other("the client sent an unknown address type"));
        }
    };
    let port = u16::from_be_bytes(take(client).await?);
    if command != CONNECT {
        answer(client, Answer::CommandUnknown).await?;
        return Err(io::Error::other(
            "the client sent a command other than CONNECT",
        ));
    }
    Ok(Endpoint { host, port })
}

/// Sends a reply. The bound address is not known, so it is zero.
pub(super) async fn answer<S>(client: &mut S, answer: Answer) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
{
    let bytes = [VERSION, answer as u8, 0, 1, 0, 0, 0, 0, 0, 0];
    client.write_all(&bytes).await
}

async fn take<const N: usize>(client: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the parsed destination and the bytes of the replies.
    fn ask(said: &[u8]) -> (io::Result<Endpoint>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (mut ours, mut theirs) = tokio::io::duplex(1024);
            theirs.write_all(said).await.unwrap();
            theirs.shutdown().await.unwrap();
            let wanted = wanted(&mut ours).await;
            drop(ours);
            let mut answered = Vec::new();
            theirs.read_to_end(&mut answered).await.unwrap();
            (wanted, answered)
        })
    }

    #[test]
    fn names_and_addresses_are_accepted() {
        let name = [&[5, 1, 0, 5, 1, 0, 3, 3][..], b"web", &[0, 80]].concat();
        let (wanted, answered) = ask(&name);
        assert_eq!(wanted.unwrap().to_string(), "web:80");
        assert_eq!(answered, [5, 0]);
        let (wanted, _) = ask(&[5, 2, 2, 0, 5, 1, 0, 1, 10, 0, 0, 7, 31, 144]);
        assert_eq!(wanted.unwrap().to_string(), "10.0.0.7:8080");
        let v6 = [
            &[5, 1, 0, 5, 1, 0, 4][..],
            &Ipv6Addr::LOCALHOST.octets(),
            &[0, 22],
        ]
        .concat();
        assert_eq!(ask(&v6).0.unwrap().to_string(), "[::1]:22");
    }

    #[test]
    fn unsupported_requests_get_an_error_reply() {
        let (wanted, answered) = ask(&[5, 1, 0, 5, 2, 0, 1, 10, 0, 0, 7, 31, 144]);
        assert!(wanted.is_err());
        assert_eq!(answered[..4], [5, 0, 5, 7]);
        let (wanted, answered) = ask(&[5, 1, 2]);
        assert!(wanted.is_err());
        assert_eq!(answered, [5, 0xff]);
        assert!(ask(b"GET / HTTP/1.1\r\n\r\n").0.is_err());
        assert!(ask(&[5, 1, 0, 5, 1, 0, 3, 200]).0.is_err());
    }
}
