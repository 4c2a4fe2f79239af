//! Tests the SSH ports of hosts.

use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::ui::notice;

/// Whether each address answered, in the order of the addresses.
pub(crate) type Probed = Vec<bool>;

/// Connects to all addresses, with a limit of concurrent attempts and a timeout for each. Shows the progress.
pub(crate) async fn probe(addresses: &[SocketAddr], patience: Duration, at_once: u16) -> Probed {
    let turns = Arc::new(Semaphore::new(usize::from(at_once.max(1))));
    let mut probes = JoinSet::new();
    for (index, &address) in addresses.iter().enumerate() {
        let turns = Arc::clone(&turns);
        probes.spawn(async move {
            let turn = turns.acquire_owned().await;
            let answered = timeout(patience, TcpStream::connect(address)).await;
            drop(turn);
            (index, matches!(answered, Ok(Ok(_))))
        });
    }
    let mut probed = vec![false; addresses.len()];
    let mut progress = Progress::new(addresses.len());
    while let Some(done) = probes.join_next().await {
        if let Ok((index, answered)) = done {
            probed[index] = answered;
        }
        progress.step();
    }
    probed
}

/// A progress line on stderr, removed at the end. Shown on a terminal only.
struct Progress {
    done: usize,
    all: usize,
    is_shown: bool,
}

/// Width of the bar.
const BAR: usize = 30;

impl Progress {
    fn new(all: usize) -> Self {
        Self {
            done: 0,
            all,
            is_shown: io::stderr().is_terminal(),
        }
    }

    fn step(&mut self) {
        self.done += 1;
        if self.is_shown {
            let full = BAR * self.done / self.all.max(1);
            let bar = format!("{:BAR$}", "#".repeat(full));
            notice::progress(&format!("[{bar}] {}/{} probed", self.done, self.all));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            notice::progress("");
        }
    }
}
