use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use vctl_common::spool::{DirError, FileHeader, FileKind, SpoolReadError, SpoolReader, VERSION};

use super::*;

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Opens a spool with one more thing in its directory; nothing may be changed by that.
fn refused(add: impl FnOnce(&Path)) -> (SpoolError, Option<SpoolReadError>) {
    let dir = tempdir();
    let config = config(dir.path());
    let (mut writer, _) = SpoolWriter::open(&config).unwrap();
    journal(&mut writer, &opened(1));
    drop(writer);
    add(&config.dir);
    let before = names(&config.dir);
    let error = SpoolWriter::open(&config).unwrap_err();
    assert_eq!(names(&config.dir), before);
    (error, SpoolReader::open(&config.dir).err())
}

#[test]
fn a_symbolic_link_is_refused() {
    let outside = tempfile::NamedTempFile::new().unwrap();
    for name in ["0000000000000009.seg", "0000000000000009.idx"] {
        let (error, read) = refused(|dir| symlink(outside.path(), dir.join(name)).unwrap());
        assert!(
            matches!(error, SpoolError::Dir(DirError::Symlink { .. })),
            "{error}"
        );
        assert!(matches!(
            read,
            Some(SpoolReadError::Dir(DirError::Symlink { .. }))
        ));
    }
}

#[test]
fn a_pipe_or_a_directory_in_place_of_a_segment_is_refused() {
    let (error, read) = refused(|dir| fs::create_dir(dir.join("0000000000000009.seg")).unwrap());
    assert!(
        matches!(error, SpoolError::Dir(DirError::NotAFile { .. })),
        "{error}"
    );
    assert!(read.is_some());
    let (error, _) = refused(|dir| {
        nix::unistd::mkfifo(
            &dir.join("0000000000000009.idx"),
            nix::sys::stat::Mode::S_IRWXU,
        )
        .unwrap();
    });
    assert!(
        matches!(error, SpoolError::Dir(DirError::NotAFile { .. })),
        "{error}"
    );
}

#[test]
fn the_agent_does_not_spool_among_files_of_others() {
    let (error, read) = refused(|dir| fs::write(dir.join("notes.txt"), "mine").unwrap());
    assert!(matches!(error, SpoolError::Foreign { .. }), "{error}");
    assert!(read.is_none(), "a reader passes it over");
}

#[test]
fn a_file_of_another_user_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can give a file away");
        return;
    }
    let (error, read) = refused(|dir| {
        let path = dir.join("0000000000000009.seg");
        fs::write(&path, "").unwrap();
        std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
    });
    assert!(
        matches!(error, SpoolError::Dir(DirError::OtherOwner { .. })),
        "{error}"
    );
    assert!(read.is_some());
}

#[test]
fn a_newer_version_is_refused_by_name_and_a_damaged_one_is_not() {
    let dir = tempdir();
    let config = config(dir.path());
    let (mut writer, _) = SpoolWriter::open(&config).unwrap();
    journal(&mut writer, &opened(1));
    drop(writer);
    let path = config.dir.join("0000000000000000.seg");
    let whole = fs::read(&path).unwrap();

    let mut newer = whole.clone();
    newer[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
    fs::write(&path, &newer).unwrap();
    // Its checksum is wrong: damage, and the index says the same as the header did.
    assert!(read(dir.path(), 1).is_some());
    let (crc_at, crc) = newer_prefix(&newer);
    newer[crc_at].copy_from_slice(&crc);
    fs::write(&path, &newer).unwrap();
    fs::remove_file(path.with_extension("idx")).unwrap();
    let reader = SpoolReader::open(&config.dir).unwrap();
    let error = reader.sessions(&Filter::All).unwrap_err().to_string();
    assert!(
        error.contains("has format 3, but this vctl reads formats up to 2"),
        "{error}"
    );
    let error = SpoolWriter::open(&config).unwrap_err().to_string();
    assert!(
        error.contains("has format 3, but this vctl reads formats up to 2"),
        "{error}"
    );
    assert!(fs::read(&path).unwrap() == newer);
    assert!(FileHeader::decode(&whole, FileKind::Segment).is_ok());
}

fn newer_prefix(file: &[u8]) -> (std::ops::Range<usize>, [u8; 4]) {
    (12..16, crc32c(&file[..12]).to_le_bytes())
}

/// CRC-32C, bit by bit: the check is worth nothing with the code it checks.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[test]
fn a_second_agent_is_refused() {
    let dir = tempdir();
    let first = SpoolWriter::open(&config(dir.path())).unwrap();
    let second = SpoolWriter::open(&config(dir.path())).unwrap_err();
    assert!(matches!(second, SpoolError::InUse { .. }), "{second}");
    drop(first);
    SpoolWriter::open(&config(dir.path())).unwrap();
}

#[test]
fn nobody_else_may_read_the_spool() {
    let dir = tempdir();
    let config = config(dir.path());
    fs::create_dir(&config.dir).unwrap();
    fs::set_permissions(&config.dir, fs::Permissions::from_mode(0o755)).unwrap();
    let _writer = SpoolWriter::open(&config).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&config.dir), 0o700);
    for name in names(&config.dir) {
        assert_eq!(mode(&config.dir.join(name)), 0o600);
    }
}
