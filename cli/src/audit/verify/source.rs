//! The files of an audit log: plain, compressed with gzip, or standard input.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use crate::error::CliError;
use crate::exit_code::Exit;

/// Size of the read buffers.
const PIECE: usize = 256 * 1024;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// First bytes of a file, its kind, and the program that decompresses it.
const OTHERS: [(&[u8], &str, &str); 6] = [
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd", "zstd -dc"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz", "xz -dc"),
    (b"BZh", "bzip2", "bzip2 -dc"),
    (&[0x04, 0x22, 0x4d, 0x18], "lz4", "lz4 -dc"),
    (b"PK\x03\x04", "zip", "unzip -p"),
    (&[0x1f, 0x9d], "compress", "zcat"),
];

/// Number of bytes that show the kind of a file.
const HEAD: u64 = 6;

/// A file that was opened, and is decompressed while it is read.
pub(super) struct OpenedLog {
    pub(super) input: Box<dyn BufRead + Send>,
    /// Size of the file, before decompression; `None` for a pipe.
    pub(super) size: Option<u64>,
    /// Bytes of the file that were read.
    pub(super) read: Arc<AtomicU64>,
}

/// Returns the name of a file in messages.
pub(super) fn name(path: &Path) -> String {
    if is_stdin(path) {
        "standard input".to_owned()
    } else {
        path.to_string_lossy().into_owned()
    }
}

pub(super) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Checks a file before any file is read. A pipe is not opened, because each of its bytes can be read only once.
///
/// # Errors
/// Those of [`open`].
pub(super) fn check(path: &Path) -> Result<(), CliError> {
    if is_stdin(path) {
        return Ok(());
    }
    let metadata = fs::metadata(path).map_err(|error| cannot_read(path, &error))?;
    if metadata.is_file() || metadata.is_dir() {
        open(path)?;
    }
    Ok(())
}

/// Opens a file; `-` is standard input.
///
/// # Errors
/// The file does not exist, cannot be read, or has a compression that vctl does not know.
pub(super) fn open(path: &Path) -> Result<OpenedLog, CliError> {
    let read = Arc::new(AtomicU64::new(0));
    let failed = |error: io::Error| cannot_read(path, &error);
    let (file, size): (Box<dyn Read + Send>, _) = if is_stdin(path) {
        (Box::new(io::stdin()), None)
    } else {
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        (Box::new(file), metadata.is_file().then_some(metadata.len()))
    };
    let mut counted = Counted {
        input: file,
        read: Arc::clone(&read),
    };
    let mut start = Vec::new();
    let mut head = (&mut counted).take(HEAD);
    head.read_to_end(&mut start).map_err(failed)?;
    let other = OTHERS.iter().find(|(magic, ..)| start.starts_with(magic));
    if let Some((_, kind, program)) = other {
        let message = format!("`{}` is compressed with {kind}", name(path));
        return Err(CliError::new(Exit::Usage, message).hint(format!(
            "decompress it: `{program} FILE | vctl audit verify --audit-log -`"
        )));
    }
    let is_gzip = start.starts_with(&GZIP);
    let whole = BufReader::with_capacity(PIECE, Cursor::new(start).chain(counted));
    let input: Box<dyn BufRead + Send> = if is_gzip {
        // A rotated file may be several compressed files, one after the other.
        Box::new(BufReader::with_capacity(PIECE, MultiGzDecoder::new(whole)))
    } else {
        Box::new(whole)
    };
    Ok(OpenedLog { input, size, read })
}

fn cannot_read(path: &Path, error: &io::Error) -> CliError {
    let exit = match error.kind() {
        io::ErrorKind::NotFound => Exit::NotFound,
        io::ErrorKind::PermissionDenied => Exit::Permission,
        _ => Exit::Failure,
    };
    let cannot = CliError::new(exit, format!("cannot read the audit log `{}`", name(path)));
    let cannot = cannot.caused_by(error);
    match exit {
        Exit::Permission => cannot.hint(
            "only the user of the Vault server may read its audit log: run vctl as that user, or copy the log",
        ),
        _ => cannot.hint(
            "`vault audit list -detailed` prints the path on the Vault server; for OpenBao it is in the `audit` part of the server's configuration",
        ),
    }
}

/// Reader that counts its bytes.
struct Counted<R> {
    input: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn other_compressions_are_named_with_their_program() {
        for (magic, kind, program) in OTHERS {
            let file = file(&[magic, b"rest of the file"].concat());
            let error = check(file.path()).unwrap_err();
            assert!(
                error.message.ends_with(&format!("with {kind}")),
                "{error:?}"
            );
            assert!(error.hint.unwrap().contains(program));
        }
        for bytes in [&b""[..], b"{", b"{\"time\":"] {
            check(file(bytes).path()).unwrap();
        }
    }

    #[test]
    fn a_pipe_is_read_from_its_first_byte() {
        let (reader, mut writer) = io::pipe().unwrap();
        io::Write::write_all(&mut writer, b"{\"time\": 1}\n").unwrap();
        drop(writer);
        let path = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        let path = Path::new(&path);
        check(path).unwrap();
        let mut text = String::new();
        open(path).unwrap().input.read_to_string(&mut text).unwrap();
        assert_eq!(text, "{\"time\": 1}\n");
    }
}
