//! Inherited standard input, output and error.
//!
//! Another program may have set them non-blocking: the flag belongs to the open file, which several
//! processes share. So vctl waits on `EAGAIN`, where the standard library returns an error.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// One of the three descriptors, without the buffers of the standard library.
#[derive(Debug)]
pub(crate) struct Descriptor(File);

impl Descriptor {
    pub(crate) fn stdin() -> io::Result<Self> {
        Self::of(&io::stdin())
    }

    pub(crate) fn stdout() -> io::Result<Self> {
        Self::of(&io::stdout())
    }

    pub(crate) fn stderr() -> io::Result<Self> {
        Self::of(&io::stderr())
    }

    fn of(stream: &impl AsFd) -> io::Result<Self> {
        Ok(Self(File::from(stream.as_fd().try_clone_to_owned()?)))
    }

    fn wait(&self, until: PollFlags) -> io::Result<()> {
        wait(self.0.as_fd(), until)
    }
}

/// Replaces standard output by `/dev/null`, so that its reader gets the end.
pub(crate) fn close_stdout() -> io::Result<()> {
    let null = File::options().write(true).open("/dev/null")?;
    nix::unistd::dup2_stdout(&null)?;
    Ok(())
}

/// Reads one line of standard input, and no byte of the next line, which may answer the next question.
pub(crate) fn read_line(text: &mut String) -> io::Result<usize> {
    let mut line = Vec::new();
    let (mut stdin, mut byte) = (Descriptor::stdin()?, [0]);
    while stdin.read(&mut byte)? == 1 {
        line.push(byte[0]);
        if byte == *b"\n" {
            break;
        }
    }
    let line = String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData)?;
    text.push_str(&line);
    Ok(line.len())
}

fn wait(fd: BorrowedFd<'_>, until: PollFlags) -> io::Result<()> {
    loop {
        match poll(&mut [PollFd::new(fd, until)], PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(()),
        }
    }
}

impl Read for Descriptor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(PollFlags::POLLIN)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

impl Write for Descriptor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(PollFlags::POLLOUT)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    use super::*;

    /// Both ends of a pipe; neither blocks.
    fn pipe() -> (Descriptor, Descriptor) {
        let (read, write) = io::pipe().unwrap();
        for end in [read.as_fd(), write.as_fd()] {
            fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        }
        (
            Descriptor::of(&read).unwrap(),
            Descriptor::of(&write).unwrap(),
        )
    }

    #[test]
    fn writing_waits_for_a_full_pipe() {
        let (mut read, mut write) = pipe();
        let writing = thread::spawn(move || write.write_all(&vec![7; 300_000]));
        thread::sleep(Duration::from_millis(20));
        let mut all = Vec::new();
        read.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), 300_000);
        writing.join().unwrap().unwrap();
    }

    #[test]
    fn reading_waits_for_an_empty_pipe() {
        let (mut read, mut write) = pipe();
        let reading = thread::spawn(move || {
            let mut all = String::new();
            read.read_to_string(&mut all).map(|_| all)
        });
        thread::sleep(Duration::from_millis(20));
        write.write_all(b"late").unwrap();
        drop(write);
        assert_eq!(reading.join().unwrap().unwrap(), "late");
    }

    #[test]
    fn a_closed_reader_ends_the_wait() {
        let (read, mut write) = pipe();
        let writing = thread::spawn(move || write.write_all(&vec![7; 300_000]));
        thread::sleep(Duration::from_millis(20));
        drop(read);
        let error = writing.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
