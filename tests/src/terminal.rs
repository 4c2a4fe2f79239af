//! A program on its own terminal, with a user in front of it.

use std::fs::File;
use std::io::{ErrorKind, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};

/// Longest wait for output that must come.
const PATIENCE: Duration = Duration::from_secs(30);

fn on_one_line(shown: &str) -> String {
    let lines: Vec<&str> = shown.lines().map(str::trim).collect();
    lines.join(" ")
}

/// Passes on all output of a terminal. Returns when no process has its other end open.
///
/// A terminal then returns an error. It also returns this error once if the last output was written and the other end
/// closed while the kernel moved earlier output: the next read has the output. So only the second error is the end.
fn read_all(terminal: &mut impl Read, mut show: impl FnMut(&[u8])) {
    let (mut piece, mut errors) = ([0; 4096], 0);
    while errors < 2 {
        match terminal.read(&mut piece) {
            Ok(0) => return,
            Ok(length) => {
                errors = 0;
                show(&piece[..length]);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => errors += 1,
        }
    }
}

/// One program on a terminal.
pub struct Terminal {
    child: Child,
    ours: File,
    shown: Arc<Mutex<Vec<u8>>>,
    /// Time of the last output.
    came: Arc<Mutex<Instant>>,
    /// Reads the terminal. Ends when no process has the other end open.
    reader: JoinHandle<()>,
}

impl Terminal {
    /// Starts `command` on a terminal with 24 rows and that many columns.
    pub fn start(command: Command, columns: u16) -> Result<Self> {
        Self::start_sized(command, 24, columns)
    }

    pub fn start_sized(mut command: Command, rows: u16, columns: u16) -> Result<Self> {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(&size, None).context("cannot open a terminal")?;
        let end = || pty.slave.try_clone().map(Stdio::from);
        command.stdin(end()?).stdout(end()?).stderr(end()?);
        // Ctrl-C reaches the process that has the terminal as its controlling terminal.
        #[expect(unsafe_code, reason = "only calls that are safe between fork and exec")]
        // SAFETY: setsid and ioctl are async-signal-safe, and the closure does not allocate.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                if nix::libc::ioctl(0, nix::libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().context("cannot start it")?;
        // Otherwise this process would hold the terminal open after the program's end. Then the reader would not get the
        // end of the output.
        drop((command, pty.slave));
        let ours = File::from(pty.master);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let came = Arc::new(Mutex::new(Instant::now()));
        let (mut reader, into) = (ours.try_clone()?, Arc::clone(&shown));
        let now = Arc::clone(&came);
        let reader = thread::spawn(move || {
            read_all(&mut reader, |piece| {
                into.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend_from_slice(piece);
                *now.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            });
        });
        Ok(Self {
            child,
            ours,
            shown,
            came,
            reader,
        })
    }

    /// Returns all output, with the sequences for cursor and colours.
    pub fn shown(&self) -> String {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// Waits until the output contains `text`. The text may be broken between two words.
    pub fn wait_for(&mut self, text: &str) -> Result<()> {
        self.wait_until(|shown| shown.contains(text) || on_one_line(shown).contains(text))
            .with_context(|| format!("`{text}` did not appear"))
    }

    /// Waits until a check of the output succeeds.
    pub fn wait_until(&mut self, is_there: impl Fn(&str) -> bool) -> Result<()> {
        let since = Instant::now();
        loop {
            if is_there(&self.shown()) {
                return Ok(());
            }
            if since.elapsed() > PATIENCE {
                bail!("this was shown: {}", self.shown());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the terminal does not echo the input.
    pub fn wait_for_silence(&mut self) -> Result<()> {
        let since = Instant::now();
        while self.echoes()? {
            if since.elapsed() > PATIENCE {
                bail!("the terminal still echoes the input: {}", self.shown());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Returns true when the terminal echoes the input.
    pub fn echoes(&self) -> Result<bool> {
        Ok(tcgetattr(&self.ours)?
            .local_flags
            .contains(LocalFlags::ECHO))
    }

    /// Types.
    pub fn type_in(&mut self, text: &str) -> Result<()> {
        Ok(self.ours.write_all(text.as_bytes())?)
    }

    /// Types, and returns the time until the last byte of the output that follows.
    ///
    /// `is_there` gets this output and returns true when it is complete.
    pub fn answers(&mut self, text: &str, is_there: impl Fn(&str) -> bool) -> Result<Duration> {
        let before = self.shown().len();
        let begun = Instant::now();
        self.type_in(text)?;
        self.wait_until(|shown| shown.get(before..).is_some_and(&is_there))?;
        let came = *self.came.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(came.saturating_duration_since(begun))
    }

    /// Returns the process id, to send it a signal.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Changes the size of the terminal, as a user does by resizing the window.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        nix::ioctl_write_ptr_bad!(set_size, nix::libc::TIOCSWINSZ, Winsize);
        let fd = std::os::fd::AsRawFd::as_raw_fd(&self.ours);
        #[expect(
            unsafe_code,
            reason = "nix has the number of this call and not the call"
        )]
        // SAFETY: the descriptor is open, and the size lives through the call.
        unsafe {
            set_size(fd, &raw const size)?;
        }
        Ok(())
    }

    /// Waits until the program has ended and all its output was read.
    pub fn end(&mut self) -> Result<ExitStatus> {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()?
                && self.reader.is_finished()
            {
                return Ok(status);
            }
            if since.elapsed() > PATIENCE {
                bail!("it does not end; this was shown: {}", self.shown());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// A terminal that gives each of these answers once, and then none.
    struct Answers(Vec<io::Result<&'static [u8]>>);

    impl Read for Answers {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let bytes = self.0.remove(0)?;
            into[..bytes.len()].copy_from_slice(bytes);
            Ok(bytes.len())
        }
    }

    #[test]
    fn output_behind_one_error_is_read() {
        let closed = || Err(io::Error::from_raw_os_error(nix::libc::EIO));
        let mut answers = Answers(vec![
            Ok(b"one"),
            Err(ErrorKind::Interrupted.into()),
            closed(),
            Ok(b"two"),
            closed(),
            closed(),
        ]);
        let mut shown = Vec::new();
        read_all(&mut answers, |piece| shown.extend_from_slice(piece));
        assert_eq!(shown, b"onetwo");
        assert!(answers.0.is_empty());
    }
}
