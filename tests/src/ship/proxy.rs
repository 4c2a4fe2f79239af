//! A proxy to Postgres that cuts connections at the worst moments.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::random::Random;

/// Forwards bytes, and cuts every connection after some bytes.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    /// Port of Postgres.
    target: u16,
    /// Connections are cut while this is set.
    cutting: AtomicBool,
    cuts: AtomicU64,
    answers_lost: AtomicU64,
    ended: AtomicBool,
}

/// How a connection ends.
#[derive(Clone, Copy)]
enum Cut {
    /// In the middle of the client's data.
    Request { after: u64 },
    /// After the client's bytes are forwarded, and before the next answer.
    Answer { after: u64 },
}

/// Bytes of a login, which always pass. Otherwise a cut would never hit a batch.
const LOGIN: u64 = 4000;
/// Some batches long, so that some batches pass. After failures alone the agent would only back off.
const MOST: u64 = 1 << 20;

impl Proxy {
    pub fn start(target: u16, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            target,
            cutting: AtomicBool::new(true),
            cuts: AtomicU64::new(0),
            answers_lost: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let state = Arc::clone(&shared);
        thread::spawn(move || {
            let mut random = Random::new(seed);
            for client in listener.incoming().flatten() {
                if state.ended.load(Ordering::Relaxed) {
                    return;
                }
                let after = LOGIN + random.below(MOST);
                let cut = if random.below(2) == 0 {
                    Cut::Request { after }
                } else {
                    Cut::Answer { after }
                };
                // An error means that Postgres is stopped. The client then sees a closed connection.
                let _ = serve(&state, client, cut);
            }
        });
        Ok(Self { port, shared })
    }

    /// Forwards all data from now on.
    pub fn stop_cutting(&self) {
        self.shared.cutting.store(false, Ordering::Relaxed);
    }

    /// Returns the number of connections that were cut.
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::Relaxed)
    }

    /// Returns the number of connections that were cut after the client's bytes were forwarded.
    pub fn answers_lost(&self) -> u64 {
        self.shared.answers_lost.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn serve(shared: &Arc<Shared>, client: TcpStream, cut: Cut) -> Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, shared.target))?;
    let lose_answer = Arc::new(AtomicBool::new(false));
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    let (state, lose) = (Arc::clone(shared), Arc::clone(&lose_answer));
    thread::spawn(move || {
        let _ = upstream(&state, &from, &to, cut, &lose);
        // The delay gives Postgres time to commit, so that only the answer is lost.
        if lose.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(300));
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
    let state = Arc::clone(shared);
    thread::spawn(move || {
        let mut bytes = [0; 16 << 10];
        let (mut server, mut client) = (&server, &client);
        while let Ok(len @ 1..) = server.read(&mut bytes) {
            if lose_answer.load(Ordering::Relaxed) {
                state.answers_lost.fetch_add(1, Ordering::Relaxed);
                break;
            }
            if client.write_all(&bytes[..len]).is_err() {
                break;
            }
        }
        let _ = server.shutdown(Shutdown::Both);
        let _ = client.shutdown(Shutdown::Both);
    });
    Ok(())
}

/// Forwards the client's data until the limit. Forwards all of it when the answer must be lost.
fn upstream(
    shared: &Shared,
    mut from: &TcpStream,
    mut to: &TcpStream,
    cut: Cut,
    lose_answer: &AtomicBool,
) -> Result<()> {
    let mut bytes = [0; 16 << 10];
    let mut sent = 0;
    loop {
        let len = from.read(&mut bytes)?;
        if len == 0 {
            return Ok(());
        }
        let cutting = shared.cutting.load(Ordering::Relaxed);
        match cut {
            Cut::Request { after } if cutting && sent + len as u64 > after => {
                let part = usize::try_from(after.saturating_sub(sent))?;
                to.write_all(&bytes[..part])?;
                shared.cuts.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            Cut::Answer { after } if cutting && sent > after => {
                lose_answer.store(true, Ordering::Relaxed);
                shared.cuts.fetch_add(1, Ordering::Relaxed);
                to.write_all(&bytes[..len])?;
                // Forwards the rest of the request as long as data arrives.
                from.set_read_timeout(Some(Duration::from_millis(100)))?;
                while let Ok(len @ 1..) = from.read(&mut bytes) {
                    to.write_all(&bytes[..len])?;
                }
                return Ok(());
            }
            _ => {
                to.write_all(&bytes[..len])?;
                sent += len as u64;
            }
        }
    }
}
