//! A TCP proxy on loopback that delays all bytes like a far server, and counts round trips.
//!
//! A command on loopback hides how often it waits for a server. The delay makes the waits visible, and the count does
//! not depend on the speed of the machine.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

/// What a client has done through one delay line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crossings {
    pub connections: u32,
    /// One for each connection, and one for each time that the server answers after the client sent something.
    pub round_trips: u32,
}

/// A proxy in front of one server. Connections that are open at its end stay open until one side closes them.
#[derive(Debug)]
pub struct DelayLine {
    addr: SocketAddr,
    crossings: Arc<Mutex<Crossings>>,
    stop: Arc<Mutex<bool>>,
}

impl DelayLine {
    /// Listens on a free port of loopback. Bytes arrive half of `round_trip` later, and the first bytes of a client
    /// one `round_trip` later still, as after a TCP handshake.
    ///
    /// # Errors
    /// No port is free.
    pub fn start(server: SocketAddr, round_trip: Duration) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let line = Self {
            addr: listener.local_addr()?,
            crossings: Arc::default(),
            stop: Arc::default(),
        };
        let (crossings, stop) = (Arc::clone(&line.crossings), Arc::clone(&line.stop));
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                if *locked(&stop) {
                    return;
                }
                let count = Count {
                    crossings: Arc::clone(&crossings),
                    is_waiting: Arc::default(),
                };
                // A server that is away refuses the client, as the drop of `client` does.
                let _ = connect(client, server, round_trip, &count);
            }
        });
        Ok(line)
    }

    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Returns the crossings since the last call.
    pub fn take(&self) -> Crossings {
        std::mem::take(&mut *locked(&self.crossings))
    }
}

impl Drop for DelayLine {
    fn drop(&mut self) {
        *locked(&self.stop) = true;
        // Wakes `accept`.
        let _ = TcpStream::connect(self.addr);
    }
}

/// Counts the round trips of one connection.
#[derive(Clone)]
struct Count {
    crossings: Arc<Mutex<Crossings>>,
    /// The client has sent something that no answer followed yet.
    is_waiting: Arc<Mutex<bool>>,
}

impl Count {
    fn opened(&self) {
        let mut crossings = locked(&self.crossings);
        crossings.connections += 1;
        crossings.round_trips += 1;
    }

    fn sent(&self) {
        *locked(&self.is_waiting) = true;
    }

    /// Counts an answer when the client gets it, because only then can the client react.
    fn answered(&self) {
        if std::mem::take(&mut *locked(&self.is_waiting)) {
            locked(&self.crossings).round_trips += 1;
        }
    }
}

fn connect(
    client: TcpStream,
    server: SocketAddr,
    round_trip: Duration,
    count: &Count,
) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    count.opened();
    let opened = Instant::now() + round_trip;
    let half = round_trip / 2;
    let (sent, answered) = (count.clone(), count.clone());
    one_way(
        (client.try_clone()?, server.try_clone()?),
        (opened, half),
        move || sent.sent(),
        || (),
    );
    // The server sees the client half of a round trip after the client sees the connection.
    one_way(
        (server, client),
        (opened + half, half),
        || (),
        move || answered.answered(),
    );
    Ok(())
}

/// Passes bytes on in one direction: read at once, written `delay` after they were read, or after `opened` if they were
/// read before.
fn one_way(
    (mut from, mut to): (TcpStream, TcpStream),
    (opened, delay): (Instant, Duration),
    read: impl Fn() + Send + 'static,
    written: impl Fn() + Send + 'static,
) {
    let (queue, queued): (Sender<(Instant, Vec<u8>)>, Receiver<_>) = channel();
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let length = from.read(&mut buffer).unwrap_or(0);
            let bytes = buffer.get(..length).unwrap_or_default().to_vec();
            if length > 0 {
                read();
            }
            let due = Instant::now().max(opened) + delay;
            // An empty piece is the end of the stream.
            if queue.send((due, bytes)).is_err() || length == 0 {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in queued {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if bytes.is_empty() {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            written();
            if to.write_all(&bytes).is_err() {
                let _ = to.shutdown(Shutdown::Both);
                return;
            }
        }
    });
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};

    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(20);

    /// A server that answers each line with the same line.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while lines.read_line(&mut line).unwrap() > 0 {
                (&stream).write_all(line.as_bytes()).unwrap();
                line.clear();
            }
        });
        addr
    }

    #[test]
    fn each_answer_that_the_client_awaits_is_a_round_trip() {
        let line = DelayLine::start(echo(), ROUND_TRIP).unwrap();
        let begun = Instant::now();
        let mut client = TcpStream::connect(line.addr).unwrap();
        let mut answers = BufReader::new(client.try_clone().unwrap());
        let mut answer = String::new();
        for _ in 0..3 {
            // Two lines at once are one round trip.
            client.write_all(b"one\ntwo\n").unwrap();
            answers.read_line(&mut answer).unwrap();
            answers.read_line(&mut answer).unwrap();
        }
        client.write_all(b"goodbye").unwrap();
        drop(client);
        assert_eq!(answer.lines().count(), 6);
        assert!(begun.elapsed() >= ROUND_TRIP * 4, "{:?}", begun.elapsed());
        let crossings = Crossings {
            connections: 1,
            round_trips: 4,
        };
        assert_eq!(line.take(), crossings);
        assert_eq!(line.take(), Crossings::default());
    }
}
