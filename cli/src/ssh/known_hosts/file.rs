//! The file itself: read by everybody at any time, and grown by one whole line at a time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Far more than anybody has; a device given by mistake must not fill memory.
const MOST: u64 = 64 << 20;

/// Returns what is in the file; nothing when it is not there.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    match File::open(path) {
        Ok(file) => {
            let mut text = Vec::new();
            file.take(MOST).read_to_end(&mut text)?;
            Ok(text)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Adds a line, unless somebody added the same since it was read.
///
/// Whoever else adds one at the same moment waits: `flock` keeps apart those of us, and one write to
/// a file opened for appending keeps apart those who, like OpenSSH, do not lock.
pub(crate) fn append(path: &Path, line: &str) -> io::Result<()> {
    if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
    }
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    file.lock()?;
    let text = fs::read(path)?;
    if text
        .split(|&byte| byte == b'\n')
        .any(|other| other == line.as_bytes())
    {
        return Ok(());
    }
    let mut new = String::with_capacity(line.len() + 2);
    // Whoever wrote the last line may have left its end out; ours must not become a part of it.
    if !is_at_line_start(&mut file)? {
        new.push('\n');
    }
    new.push_str(line);
    new.push('\n');
    file.write_all(new.as_bytes())?;
    file.sync_data()
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
    use std::os::unix::fs::PermissionsExt as _;
    use std::thread;

    use super::*;

    #[test]
    fn a_missing_end_of_line_is_made_good() {
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
    fn it_and_its_directory_are_made_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".ssh/known_hosts");
        assert_eq!(read(&path).unwrap(), b"");
        append(&path, "line").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn many_at_once_leave_only_whole_lines() {
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
