//! The process of a server of the centre: started, signalled and stopped, also by several threads at once.

use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A server process, or `None` while the server is stopped.
#[derive(Default)]
pub(super) struct ServerProcess(Mutex<Option<Child>>);

impl ServerProcess {
    /// Takes the process of a server that was started.
    pub(super) fn set(&self, child: Child) {
        *self.lock() = Some(child);
    }

    pub(super) fn pid(&self) -> Result<u32> {
        Ok(self.lock().as_ref().context("the server is stopped")?.id())
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.pid()?;
        Ok(kill(Pid::from_raw(pid.cast_signed()), signal)?)
    }

    /// Sends the signal, and waits until the process has ended.
    pub(super) fn end(&self, signal: Signal) -> Result<()> {
        self.signal(signal)?;
        let child = self.lock().take();
        if let Some(mut child) = child {
            child.wait()?;
        }
        Ok(())
    }

    /// Returns whether the process has ended by itself. Then the server is stopped.
    pub(super) fn has_ended(&self) -> Result<bool> {
        let mut child = self.lock();
        if let Some(running) = child.as_mut()
            && running.try_wait()?.is_none()
        {
            return Ok(false);
        }
        *child = None;
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Child>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // The journal ends the process. This only reaps the zombie.
        if let Some(child) = &mut *self.lock() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
