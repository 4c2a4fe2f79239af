//! Reads files that users and other programs write: as bytes, up to a limit, and without waiting
//! for a writer.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Editors on Windows write it before UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Time limit for the writer of a named pipe, as in `--file <(program)`.
const WRITER: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(5);

/// Whether the file may be a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pipes {
    /// The user named the file, for example as `<(program)`.
    Allowed,
    Refused,
}

/// Opens a file for reading, without waiting for the writer of a pipe.
///
/// # Errors
/// It is a directory, a socket, or another device than `/dev/null`.
pub fn open(path: &Path, pipes: Pipes) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)?;
    let metadata = file.metadata()?;
    let kind = metadata.file_type();
    let is_null = || {
        kind.is_char_device()
            && fs::metadata("/dev/null").is_ok_and(|null| null.rdev() == metadata.rdev())
    };
    if kind.is_dir() {
        Err(io::ErrorKind::IsADirectory.into())
    } else if kind.is_file() || is_null() || (kind.is_fifo() && pipes == Pipes::Allowed) {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a regular file"))
    }
}

/// Returns the content of a file of at most `most` bytes.
///
/// # Errors
/// The file is unreadable or larger, or is a pipe whose writer writes nothing.
pub fn read(path: &Path, most: u64, pipes: Pipes) -> io::Result<Vec<u8>> {
    let mut file = open(path, pipes)?.take(most + 1);
    let (mut bytes, since) = (Vec::new(), Instant::now());
    loop {
        match file.read_to_end(&mut bytes) {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if since.elapsed() > WRITER {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "it is a pipe, and its writer writes nothing",
                    ));
                }
                thread::sleep(LOOK);
            }
            Err(error) => return Err(error),
        }
    }
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it is larger than {most} bytes")));
    }
    Ok(bytes)
}

/// Returns text without the byte order mark of UTF-8.
pub fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// Returns the only line of a file, such as an id or a token, without surrounding blanks. An empty
/// file returns an empty line.
///
/// # Errors
/// The file is unreadable, or its content is not one line of UTF-8. No error repeats the content.
pub fn read_line(path: &Path) -> io::Result<String> {
    const MOST: u64 = 1 << 16;
    let bytes = read(path, MOST, Pipes::Allowed)?;
    let wrong = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return wrong("it is UTF-16: save it as UTF-8");
    }
    let Ok(text) = std::str::from_utf8(without_mark(&bytes)) else {
        return wrong("it is not UTF-8");
    };
    let line = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    if line.contains(['\n', '\r']) {
        return wrong("it contains more than one line");
    }
    if line.contains(char::is_control) {
        return wrong("it contains a control character");
    }
    Ok(line.to_owned())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn one_line_is_read_whatever_stands_around_it() {
        for bytes in [
            &b"84896a0c"[..],
            b"84896a0c\n",
            b"84896a0c\r\n",
            b"\xef\xbb\xbf84896a0c\r\n\r\n",
            b"  \t84896a0c \n\n",
            b"84896a0c\n\0\0",
        ] {
            assert_eq!(
                read_line(file(bytes).path()).unwrap(),
                "84896a0c",
                "{bytes:?}"
            );
        }
        assert_eq!(read_line(file(b" \n").path()).unwrap(), "");
    }

    #[test]
    fn what_is_not_one_line_is_refused_and_not_repeated() {
        for (bytes, why) in [
            (&b"geheim\nx"[..], "more than one line"),
            (b"geheim\xe4\n", "not UTF-8"),
            (b"\xff\xfe8\x004\x00", "UTF-16"),
            (b"geheim\x0096", "a control character"),
        ] {
            let error = read_line(file(bytes).path()).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("geheim"), "{error}");
        }
    }

    #[test]
    fn a_file_without_an_end_or_a_writer_does_not_hang() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        assert!(read(&pipe, 100, Pipes::Refused).is_err());
        assert_eq!(read(&pipe, 100, Pipes::Allowed).unwrap(), b"");
        assert!(read(Path::new("/dev/zero"), 100, Pipes::Allowed).is_err());
        assert_eq!(
            read(Path::new("/dev/null"), 100, Pipes::Refused).unwrap(),
            b""
        );
        assert!(read(dir.path(), 100, Pipes::Allowed).is_err());
        assert!(read(file(&[0; 101]).path(), 100, Pipes::Refused).is_err());
    }

    #[test]
    fn a_pipe_with_a_slow_writer_is_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let script = format!(
            "mkfifo {0} && touch {0}.made && {{ printf 84; printf 96; }} > {0}",
            pipe.display()
        );
        let mut writer = Command::new("sh").args(["-c", &script]).spawn().unwrap();
        while !dir.path().join("pipe.made").exists() {
            thread::sleep(LOOK);
        }
        let mut word = String::new();
        while word.is_empty() {
            word = read_line(&pipe).unwrap();
        }
        assert_eq!(word, "8496");
        writer.wait().unwrap();
    }
}
