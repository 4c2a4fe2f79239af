//! Segments as damage left them: cut, flipped, joined, overwritten. Each holds two sessions of ten
//! events; what is read of each is in `corpus.txt`, and stays.

use std::fmt::Write;
use std::fs;

use super::*;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/spool/tests/corpus");

/// Tells what a reader finds of both sessions.
fn found(dir: &Path) -> String {
    let reader = match SpoolReader::open(&dir.join("spool")) {
        Ok(reader) => reader,
        Err(error) => return error.to_string(),
    };
    let session = |n| match read_from(&reader, n) {
        Some((seqs, Completeness::Complete)) => format!("{} complete", seqs.len()),
        Some((seqs, Completeness::StillOpen)) => format!("{} open", seqs.len()),
        Some((seqs, found @ Completeness::Missing(_))) => {
            format!("{} missing {}", seqs.len(), missing(&found))
        }
        None => "none".to_owned(),
    };
    format!("{}, {}", session(1), session(2))
}

#[test]
fn each_segment_of_the_corpus_is_read_and_continued() {
    let mut files: Vec<_> = fs::read_dir(CORPUS)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut seen = String::new();
    for file in files {
        let dir = tempdir();
        let config = config(dir.path());
        fs::create_dir(&config.dir).unwrap();
        fs::set_permissions(
            &config.dir,
            std::os::unix::fs::PermissionsExt::from_mode(0o700),
        )
        .unwrap();
        fs::copy(&file, config.dir.join("0000000000000000.seg")).unwrap();
        let name = file.file_stem().unwrap().to_string_lossy();
        let before = found(dir.path());
        let (mut writer, recovered) = open(&config).unwrap();
        write(&mut writer, |batch| {
            batch.push_journal(&opened(3)).unwrap();
            push(batch, 3, 1..=2);
        });
        drop(writer);
        assert_eq!(read(dir.path(), 3).unwrap().0, [1, 2], "{name}");
        let after = found(dir.path());
        let taken = recovered.truncated_bytes;
        writeln!(seen, "{name}: {before}; {taken} bytes taken off; {after}").unwrap();
    }
    assert_eq!(seen, include_str!("corpus.txt"));
}
