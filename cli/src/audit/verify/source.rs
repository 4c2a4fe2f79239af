//! The files of an audit log: plain, compressed with gzip, or standard input.

use std::fs::File;
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
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

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
    let mut head = (&mut counted).take(ZSTD.len() as u64);
    head.read_to_end(&mut start).map_err(failed)?;
    if start.starts_with(&ZSTD) {
        let message = format!("`{}` is compressed with zstd", name(path));
        return Err(CliError::new(Exit::Usage, message)
            .hint("decompress it: `zstd -dc FILE | vctl audit verify --audit-log -`"));
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
            "Vault writes its audit log for itself alone: run this as its user, or copy the log",
        ),
        _ => cannot.hint(
            "the file on the Vault server is named by `vault audit list -detailed`, or by `audit` in the configuration of OpenBao",
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
