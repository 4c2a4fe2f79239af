//! Reading the file, and appending one whole line: other programs may read and write it at any time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::libc::O_NONBLOCK;
use vctl_common::file_lock;
use vctl_common::foreign_file::{self, Pipes};

use crate::files::private_file::is_absence;
use crate::ui::notice;

/// Maximum size, so that a device given by mistake does not fill memory.
const MOST: u64 = 64 << 20;

/// Returns the content of the file; empty if it does not exist. A file that cannot be read causes one notice and is
/// skipped, as in OpenSSH.
pub(crate) fn read(path: &Path) -> Vec<u8> {
    match foreign_file::read(path, MOST, Pipes::Refused) {
        Ok(text) => text,
        Err(error) if is_absence(&error) => Vec::new(),
        Err(error) => {
            let path = path.display();
            notice::note_once(&format!("cannot read host keys in `{path}`: {error}"));
            Vec::new()
        }
    }
}

/// Appends a line, unless the file already has it.
///
/// `flock` excludes other vctl processes. For programs that do not lock, such as OpenSSH, the line is one write to a
/// file opened for appending. On a file system without locks, two vctl processes may append the same line twice, which
/// does no harm.
pub(crate) fn append(path: &Path, line: &str) -> io::Result<()> {
    let has_line = |text: &[u8]| {
        let mut lines = text.split(|&byte| byte == b'\n');
        lines.any(|other| other == line.as_bytes())
    };
    append_unless(path, line, has_line).map(drop)
}

/// Like [`append`], but `exists` decides on the file's text, under the lock. Returns whether the line was appended.
pub(crate) fn append_unless(
    path: &Path,
    line: &str,
    exists: impl FnOnce(&[u8]) -> bool,
) -> io::Result<bool> {
    if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
        // Only `.ssh` is created, as in OpenSSH: a missing home directory is not.
        DirBuilder::new().mode(0o700).create(directory)?;
    }
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(O_NONBLOCK)
        .open(path)?;
    // The path may be `/dev/null` or a pipe, where locking and reading could block.
    if !file.metadata()?.is_file() {
        file.write_all(format!("{line}\n").as_bytes())?;
        return Ok(true);
    }
    file_lock::exclusive(&file)?;
    let mut text = Vec::new();
    (&file).take(MOST).read_to_end(&mut text)?;
    if exists(&text) {
        return Ok(false);
    }
    let mut new = String::with_capacity(line.len() + 2);
    // The last line may lack its newline; the new line must not become part of it.
    if !is_at_line_start(&mut file)? {
        new.push('\n');
    }
    new.push_str(line);
    new.push('\n');
    file.write_all(new.as_bytes())?;
    file.sync_data()?;
    Ok(true)
}

fn is_at_line_start(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::thread;

    use super::*;

    #[test]
    fn missing_newline_is_added() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known_hosts");
        fs::write(&path, "first line without an end").unwrap();
        append(&path, "second").unwrap();
        append(&path, "third").unwrap();
        append(&path, "second").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "first line without an end\nsecond\nthird\n");
    }

    #[test]
    fn file_and_directory_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".ssh/known_hosts");
        assert_eq!(read(&path), b"");
        append(&path, "line").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn parallel_writers_leave_only_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known_hosts");
        fs::write(&path, "torn").unwrap();
        thread::scope(|scope| {
            for index in 0..16 {
                let path = &path;
                scope.spawn(move || append(path, &format!("host-{index} {}", "k".repeat(2000))));
            }
        });
        let text = fs::read_to_string(&path).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.remove(0), "torn");
        assert_eq!(lines.len(), 16);
        assert!(
            lines
                .iter()
                .all(|line| line.len() > 2000 && line.starts_with("host-"))
        );
        assert!(text.ends_with('\n'));
    }
}
