//! Serving of forwarded ports and the forwarded agent.

use std::convert::Infallible;
use std::io;
use std::net::Ipv6Addr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use russh::ChannelOpenFailure;
use russh::client::Msg;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::mpsc;
use vctl_common::causes::WithCauses;
use vctl_common::dial;

use super::socks::{self, Answer};
use super::{Endpoint, Forwards, RemoteForward};
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::ssh::error::SshError;
use crate::ssh::handler::Inbound;
use crate::ssh::hop::Connection;
use crate::ui::notice;

/// Pause after a listener failed, most likely for too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Maximum number of bytes in one read of a forwarded connection: two packets.
const PIECE: usize = 64 << 10;

/// Destination of a client of a local port.
#[derive(Clone, Debug)]
enum Way {
    To(Endpoint),
    /// The client names it, with SOCKS.
    Socks,
}

/// A port of the host, and its local destination.
#[derive(Debug)]
struct RemoteListener {
    /// Address as the server got it in the request.
    host: String,
    port: u16,
    to: Endpoint,
}

/// The forwarded ports.
pub(crate) struct Forwarding {
    arrivals: mpsc::Receiver<(TcpStream, Way)>,
    remote: Vec<RemoteForward>,
    agent: bool,
    listening: Vec<RemoteListener>,
}

impl Forwarding {
    /// Opens the local ports. This is done before connecting, so that a port in use is reported early.
    pub(crate) async fn bind(forwards: &Forwards) -> Result<Self, Stop> {
        let (sender, arrivals) = mpsc::channel(16);
        let local = forwards.local.iter();
        let local = local.map(|local| (&local.listen, Way::To(local.to.clone())));
        let proxies = forwards
            .proxies
            .iter()
            .map(|proxy| (&proxy.listen, Way::Socks));
        for (listen, way) in local.chain(proxies) {
            for listener in listeners(listen).await? {
                tokio::spawn(accept(listener, way.clone(), sender.clone()));
            }
        }
        Ok(Self {
            arrivals,
            remote: forwards.remote.clone(),
            agent: forwards.agent,
            listening: Vec::new(),
        })
    }

    /// Makes the host open its ports.
    pub(crate) async fn listen_there(&mut self, connection: &Connection) -> Result<(), SshError> {
        for RemoteForward { listen, to } in &self.remote {
            let given = connection.listen(&listen.host, listen.port).await?;
            if listen.port == 0 {
                notice::done(&format!("`{}` listens at port {given}", connection.host()));
            }
            self.listening.push(RemoteListener {
                host: listen.host.clone(),
                port: given,
                to: to.clone(),
            });
        }
        Ok(())
    }

    /// Connects the clients of both sides, for as long as the future is polled.
    pub(crate) async fn serve(
        mut self,
        connection: &Connection,
        mut inbound: mpsc::Receiver<Inbound>,
    ) -> Infallible {
        let mut going_on = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some((stream, way)) = self.arrivals.recv() => {
                    going_on.push(Flow::Out(stream, way).go(connection));
                }
                Some(arrival) = inbound.recv() => {
                    if let Some(flow) = self.inward(arrival) {
                        going_on.push(flow.go(connection));
                    }
                }
                Some(()) = going_on.next() => {}
                else => std::future::pending().await,
            }
        }
    }

    /// Returns the destination of a channel; `None` for one that was not requested, which is refused.
    fn inward(&self, arrival: Inbound) -> Option<Flow> {
        match arrival {
            Inbound::Forwarded {
                channel,
                address,
                port,
                reply,
            } => {
                let to = destination_of(&self.listening, &address, port)?;
                Some(Flow::In(channel, reply, to.clone()))
            }
            Inbound::Agent { channel, reply } => self.agent.then_some(Flow::Agent(channel, reply)),
        }
    }
}

/// Returns the destination of a connection to an address and a port of the host. Servers repeat the requested address;
/// one that does not is understood only if a single listener has the port.
fn destination_of<'a>(
    listening: &'a [RemoteListener],
    address: &str,
    port: u32,
) -> Option<&'a Endpoint> {
    let mut same: Vec<&RemoteListener> = listening
        .iter()
        .filter(|listener| u32::from(listener.port) == port)
        .collect();
    if same.len() > 1 {
        same.retain(|listener| listener.host == address);
    }
    match same[..] {
        [one] => Some(&one.to),
        _ => None,
    }
}

/// One forwarded connection.
enum Flow {
    Out(TcpStream, Way),
    In(
        russh::Channel<Msg>,
        russh::client::ChannelOpenHandle,
        Endpoint,
    ),
    Agent(russh::Channel<Msg>, russh::client::ChannelOpenHandle),
}

impl Flow {
    /// Copies data between both ends until they close. An error affects only this connection.
    async fn go(self, connection: &Connection) {
        match self {
            Self::Out(stream, way) => outward(stream, way, connection).await,
            Self::In(channel, reply, to) => match dial::tcp(&to.host, to.port).await {
                Ok(mut stream) => {
                    reply.accept().await;
                    let _ = stream.set_nodelay(true);
                    let mut channel = channel.into_stream();
                    copy(&mut stream, &mut channel).await;
                }
                Err(error) => {
                    reply.reject(ChannelOpenFailure::ConnectFailed).await;
                    notice::note(&format!("cannot connect to `{to}`: {error}"));
                }
            },
            Self::Agent(channel, reply) => match agent().await {
                Ok(mut stream) => {
                    reply.accept().await;
                    let mut channel = channel.into_stream();
                    copy(&mut stream, &mut channel).await;
                }
                Err(error) => {
                    reply.reject(ChannelOpenFailure::ConnectFailed).await;
                    notice::note(&format!("cannot connect to the local ssh-agent: {error}"));
                }
            },
        }
    }
}

/// Copies both ways until both ends are done.
async fn copy<A, B>(one: &mut A, other: &mut B)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let _ = copy_bidirectional_with_sizes(one, other, PIECE, PIECE).await;
}

async fn outward(mut stream: TcpStream, way: Way, connection: &Connection) {
    let _ = stream.set_nodelay(true);
    let (to, by_socks) = match way {
        Way::To(to) => (to, false),
        Way::Socks => match socks::wanted(&mut stream).await {
            Ok(to) => (to, true),
            Err(_) => return,
        },
    };
    let opened = connection.open_tcp(&to).await;
    if by_socks {
        let answer = match opened {
            Ok(_) => Answer::Connected,
            Err(_) => Answer::Refused,
        };
        if socks::answer(&mut stream, answer).await.is_err() {
            return;
        }
    }
    match opened {
        Ok(channel) => {
            let mut channel = channel.into_stream();
            copy(&mut stream, &mut channel).await;
        }
        // SOCKS reports the error to its client, and a browser causes many.
        Err(_) if by_socks => {}
        Err(error) => notice::note(&WithCauses(&error).to_string()),
    }
}

async fn agent() -> io::Result<UnixStream> {
    let path = std::env::var_os("SSH_AUTH_SOCK")
        .ok_or_else(|| io::Error::other("`SSH_AUTH_SOCK` is not set"))?;
    UnixStream::connect(path).await
}

/// Listens on the addresses of a host name. `localhost` has two: one of them may be missing on a machine, but neither
/// may be in use, because its clients would reach another program.
async fn listeners(listen: &Endpoint) -> Result<Vec<TcpListener>, CliError> {
    let port = listen.port;
    let hosts = match &*listen.host {
        "localhost" => vec!["127.0.0.1", "::1"],
        // If the system's IPv6 socket includes IPv4, the second address is already in use.
        "" => vec!["::", "0.0.0.0"],
        host => vec![host],
    };
    let mut open = Vec::new();
    let mut failure = None;
    for host in hosts {
        // A port chosen by the system must be the same for both.
        let first: Option<&TcpListener> = open.first();
        let port = first
            .and_then(|listener| listener.local_addr().ok())
            .map_or(port, |addr| addr.port());
        match TcpListener::bind((host, port)).await {
            Ok(listener) => open.push(listener),
            Err(error) => {
                let is_taken = error.kind() == io::ErrorKind::AddrInUse;
                let by_ourselves = host == "0.0.0.0" && !open.is_empty();
                if is_taken && !by_ourselves && listen.port != 0 {
                    return Err(cannot_listen(listen, &error));
                }
                let absent = host.parse::<Ipv6Addr>().is_ok();
                if failure.is_none() || !absent {
                    failure = Some(error);
                }
            }
        }
    }
    if let (true, Some(error)) = (open.is_empty(), failure) {
        return Err(cannot_listen(listen, &error));
    }
    if port == 0
        && let Some(addr) = open.first().and_then(|first| first.local_addr().ok())
    {
        notice::done(&format!("listening at port {}", addr.port()));
    }
    Ok(open)
}

fn cannot_listen(listen: &Endpoint, error: &io::Error) -> CliError {
    CliError::new(Exit::Failure, format!("cannot listen at `{listen}`")).caused_by(error)
}

async fn accept(listener: TcpListener, way: Way, arrivals: mpsc::Sender<(TcpStream, Way)>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if arrivals.send((stream, way.clone())).await.is_err() {
                    return;
                }
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_with_one_port_are_told_apart_by_address() {
        let listener = |host: &str, port, to: &str| RemoteListener {
            host: host.to_owned(),
            port,
            to: Endpoint {
                host: to.to_owned(),
                port: 80,
            },
        };
        let listening = [
            listener("127.0.0.1", 8080, "a"),
            listener("::1", 8080, "b"),
            listener("localhost", 9090, "c"),
        ];
        let to = |address, port| {
            let to = destination_of(&listening, address, port);
            to.map(|to| to.host.as_str())
        };
        assert_eq!(to("127.0.0.1", 8080), Some("a"));
        assert_eq!(to("::1", 8080), Some("b"));
        assert_eq!(to("0.0.0.0", 8080), None);
        // Some servers send the address of the socket.
        assert_eq!(to("127.0.0.1", 9090), Some("c"));
        assert_eq!(to("127.0.0.1", 7070), None);
    }
}
