//! Hosts in a separate network that only forwarded ports reach. The same address may belong to another host there
//! than here.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sched::{CloneFlags, unshare};

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace. It has no name and needs no cleanup: it ends with the last process in it.
pub struct Island(Sender<Job>);

impl Island {
    pub fn new() -> Result<Self> {
        let (sender, jobs) = channel::<Job>();
        // A network namespace belongs to a thread. All processes that this thread starts are in it.
        thread::spawn(move || {
            for job in jobs {
                job();
            }
        });
        let island = Self(sender);
        island.within(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network")?;
            let up = Command::new("ip")
                .args(["link", "set", "lo", "up"])
                .status()?;
            ensure!(up.success(), "cannot bring up the network");
            Ok(())
        })??;
        Ok(island)
    }

    /// Runs `work` in the namespace, and returns its result.
    pub fn within<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let (sender, done) = channel();
        let job = Box::new(move || drop(sender.send(work())));
        self.0
            .send(job)
            .map_err(|_| anyhow!("the island is gone"))?;
        done.recv().context("the work on the island panicked")
    }

    /// Returns a port of this machine that forwards to that port in the namespace.
    pub fn door(&self, inside: u16) -> Result<u16> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        self.within(move || {
            thread::spawn(move || {
                for outer in listener.incoming().flatten() {
                    if let Ok(inner) = TcpStream::connect((Ipv4Addr::LOCALHOST, inside)) {
                        relay(&outer, &inner);
                    }
                }
            });
        })?;
        Ok(port)
    }
}

fn relay(outer: &TcpStream, inner: &TcpStream) {
    for (from, to) in [(outer, inner), (inner, outer)] {
        let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else {
            return;
        };
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}
