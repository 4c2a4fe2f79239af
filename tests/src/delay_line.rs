//! A TCP proxy on loopback that delays all bytes like a far server, and counts round trips.
//!
//! A command on loopback hides how often it waits for a server. The delay makes the waits visible, and the count does
//! not depend on the speed of the machine.
//!
//! Lines with a common [`FlightClock`] also count the flights of a command: how many times it had to wait for an answer
//! of any server before it could send on.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
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

/// Counts the flights of a command through all lines that share the clock.
///
/// It stands at the highest flight with an answer at the client. Bytes that the client sends belong to the next flight,
/// and so does the answer to them. So the count is at least the longest chain of questions and answers, whichever server
/// each went to, and at most the elapsed time divided by the round-trip time.
#[derive(Clone, Debug, Default)]
pub struct FlightClock(Arc<Mutex<Arc<AtomicU32>>>);

impl FlightClock {
    /// Returns the flights since the last call. Answers to earlier questions no longer count.
    pub fn take(&self) -> u32 {
        std::mem::take(&mut *locked(&self.0)).load(Ordering::SeqCst)
    }

    fn of_connection(&self) -> Arc<AtomicU32> {
        Arc::clone(&locked(&self.0))
    }
}

/// A proxy in front of one server. Connections that are open at its end stay open until one side closes them.
#[derive(Debug)]
pub struct DelayLine {
    addr: SocketAddr,
    crossings: Arc<Mutex<Crossings>>,
    stalled_until: Arc<Mutex<Option<Instant>>>,
    stop: Arc<Mutex<bool>>,
}

impl DelayLine {
    /// Listens on a free port of loopback. Bytes arrive half of `round_trip` later, and the first bytes of a client
    /// one `round_trip` later still, as after a TCP handshake.
    ///
    /// # Errors
    /// No port is free.
    pub fn start(server: SocketAddr, round_trip: Duration) -> Result<Self> {
        Self::start_with(server, round_trip, &FlightClock::default())
    }

    /// Like [`start`](Self::start), with a clock that other lines share.
    ///
    /// # Errors
    /// No port is free.
    pub fn start_with(
        server: SocketAddr,
        round_trip: Duration,
        clock: &FlightClock,
    ) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let line = Self {
            addr: listener.local_addr()?,
            crossings: Arc::default(),
            stalled_until: Arc::default(),
            stop: Arc::default(),
        };
        let (crossings, stop) = (Arc::clone(&line.crossings), Arc::clone(&line.stop));
        let (clock, stalled_until) = (clock.clone(), Arc::clone(&line.stalled_until));
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                if *locked(&stop) {
                    return;
                }
                let clock = clock.of_connection();
                // The first flight is the TCP handshake.
                let connected = clock.load(Ordering::SeqCst) + 1;
                let count = Count {
                    crossings: Arc::clone(&crossings),
                    is_waiting: Arc::default(),
                    clock,
                    connected,
                    asked: Arc::new(AtomicU32::new(connected)),
                    stalled_until: Arc::clone(&stalled_until),
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

    /// From now on, no bytes arrive on either side for this time.
    pub fn stall(&self, time: Duration) {
        *locked(&self.stalled_until) = Some(Instant::now() + time);
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
    /// The highest flight with an answer at the client, on any line.
    clock: Arc<AtomicU32>,
    /// The flight that opened this connection.
    connected: u32,
    /// The highest flight that reached the server.
    asked: Arc<AtomicU32>,
    stalled_until: Arc<Mutex<Option<Instant>>>,
}

impl Count {
    fn opened(&self) {
        let mut crossings = locked(&self.crossings);
        crossings.connections += 1;
        crossings.round_trips += 1;
    }

    /// Returns the flight after which the client sent this.
    fn sent(&self) -> u32 {
        *locked(&self.is_waiting) = true;
        self.clock.load(Ordering::SeqCst).max(self.connected)
    }

    fn arrived(&self, flight: u32) {
        self.asked.fetch_max(flight, Ordering::SeqCst);
    }

    /// Returns the flight that brings an answer.
    fn answers(&self) -> u32 {
        self.asked.load(Ordering::SeqCst) + 1
    }

    /// Counts an answer when the client gets it, because only then can the client react.
    fn answered(&self, flight: u32) {
        self.clock.fetch_max(flight, Ordering::SeqCst);
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
    let stalled = &count.stalled_until;
    let (sent, arrived) = (count.clone(), count.clone());
    one_way(
        (client.try_clone()?, server.try_clone()?),
        (opened, half, Arc::clone(stalled)),
        move || sent.sent(),
        move |flight| arrived.arrived(flight),
    );
    let (answers, answered) = (count.clone(), count.clone());
    // The server sees the client half of a round trip after the client sees the connection.
    one_way(
        (server, client),
        (opened + half, half, Arc::clone(stalled)),
        move || answers.answers(),
        move |flight| answered.answered(flight),
    );
    Ok(())
}

/// Bytes on their way: when they are due, and the flight that they belong to. An empty piece is the end of the stream.
type Piece = (Instant, u32, Vec<u8>);

/// Passes bytes on in one direction: read at once, written `delay` after they were read, or after `opened` if they were
/// read before, and not while the line is stalled.
fn one_way(
    (mut from, mut to): (TcpStream, TcpStream),
    (opened, delay, stalled): (Instant, Duration, Arc<Mutex<Option<Instant>>>),
    read: impl Fn() -> u32 + Send + 'static,
    written: impl Fn(u32) + Send + 'static,
) {
    let (queue, queued): (Sender<Piece>, Receiver<_>) = channel();
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let length = from.read(&mut buffer).unwrap_or(0);
            let bytes = buffer.get(..length).unwrap_or_default().to_vec();
            let flight = if length > 0 { read() } else { 0 };
            let due = Instant::now().max(opened) + delay;
            if queue.send((due, flight, bytes)).is_err() || length == 0 {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, flight, bytes) in queued {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let stalled = *locked(&stalled);
            if let Some(until) = stalled {
                thread::sleep(until.saturating_duration_since(Instant::now()));
            }
            if bytes.is_empty() {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            written(flight);
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

    #[test]
    fn flights_count_waits_and_not_servers() {
        let clock = FlightClock::default();
        let line = |_| DelayLine::start_with(echo(), ROUND_TRIP, &clock).unwrap();
        let lines = [0, 1].map(line);
        let asks = |line: &DelayLine, times: u32| {
            let mut client = TcpStream::connect(line.addr).unwrap();
            for _ in 0..times {
                client.write_all(b"one\n").unwrap();
                client.read_exact(&mut [0; 4]).unwrap();
            }
        };
        // Side by side: a handshake and three answers. One after the other: two of each handshake and answer.
        let (one, other) = (&lines[0], &lines[1]);
        thread::scope(|scope| {
            scope.spawn(|| asks(one, 3));
            scope.spawn(|| asks(other, 1));
        });
        assert_eq!(clock.take(), 4);
        let lines = [0, 1].map(line);
        for line in &lines {
            asks(line, 1);
        }
        assert_eq!(clock.take(), 4);
        assert_eq!(clock.take(), 0);
    }

    #[test]
    fn a_stalled_line_passes_nothing_on_for_its_time() {
        let line = DelayLine::start(echo(), Duration::ZERO).unwrap();
        let stall = ROUND_TRIP * 10;
        line.stall(stall);
        let begun = Instant::now();
        let mut client = TcpStream::connect(line.addr).unwrap();
        client.write_all(b"one\n").unwrap();
        client.read_exact(&mut [0; 4]).unwrap();
        assert!(begun.elapsed() >= stall, "{:?}", begun.elapsed());
    }
}
