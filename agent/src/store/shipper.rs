//! The shipper's thread.

use std::io;
use std::thread::{self, JoinHandle};

use tokio::runtime;
use tokio::sync::watch;
use tracing::warn;

use super::progress::Progress;
use super::publish::Publish;
use super::route::{Route, ShipConfig};
use super::ship::Ship;
use crate::end_request::channels::ShipperChannels;
use crate::spool::Durable;

/// The shipper's thread; dropping this ends it.
#[derive(Debug)]
pub struct Shipper {
    progress: Progress,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Shipper {
    /// Starts shipping. `durable` is the position that the spool's writer has synced. With a `channels`, and
    /// Postgres as its route, the thread also asks for requests to end sessions.
    ///
    /// # Errors
    /// The thread cannot be started. Later errors are in `progress` and in the log.
    pub fn start(
        config: ShipConfig,
        durable: watch::Receiver<Durable>,
        channels: Option<ShipperChannels>,
    ) -> io::Result<Self> {
        let progress = Progress::default();
        let (stop, stopped) = watch::channel(false);
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = thread::Builder::new().name("shipper".to_owned());
        let thread = match config.route.clone() {
            Route::Postgres(centre) => {
                let mut ship = Ship::new(config, *centre, durable, channels, progress.clone());
                thread.spawn(move || {
                    runtime.block_on(ship.run(stopped));
                    // Without waiting for threads on which a name service hangs.
                    runtime.shutdown_background();
                })?
            }
            // Requests to end sessions are rows of Postgres, which this host does not read.
            Route::JetStream(way) => {
                let mut publish = Publish::new(config, *way, durable, progress.clone());
                thread.spawn(move || {
                    runtime.block_on(publish.run(stopped));
                    runtime.shutdown_background();
                })?
            }
        };
        Ok(Self {
            progress,
            stop,
            thread: Some(thread),
        })
    }

    pub fn progress(&self) -> &Progress {
        &self.progress
    }
}

impl Drop for Shipper {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn!("The shipper's thread had panicked.");
        }
    }
}
