//! Lists the segments in the spool's directory and checks whether they may be trusted.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

/// The directory or a file in it is not in the state that the agent leaves. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{}` is not a directory", path.display())]
    NotADirectory { path: PathBuf },
    #[error("`{}` is a symbolic link, where the spool has only regular files", path.display())]
    Symlink { path: PathBuf },
    #[error("`{}` is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error("`{}` belongs to user {uid}, the spool to user {owner}", path.display())]
    OtherOwner { path: PathBuf, uid: u32, owner: u32 },
}

/// The two files of one segment; one may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFiles {
    pub number: u64,
    pub segment: PathBuf,
    pub index: PathBuf,
    /// Size of the segment when it was listed.
    pub len: u64,
}

impl SegmentFiles {
    pub fn new(dir: &Path, number: u64) -> Self {
        Self::of_len(dir, number, 0)
    }

    fn of_len(dir: &Path, number: u64, len: u64) -> Self {
        Self {
            number,
            segment: dir.join(format!("{number:016x}.seg")),
            index: dir.join(format!("{number:016x}.idx")),
            len,
        }
    }
}

/// Content of the directory, oldest segment first.
#[derive(Debug, Default)]
pub struct Listing {
    pub segments: Vec<SegmentFiles>,
    /// Indexes without a segment: left when a drop was interrupted.
    pub orphan_indexes: Vec<SegmentFiles>,
    /// All other files.
    pub foreign: Vec<PathBuf>,
}

/// Lists the segments in `dir`, and checks that each one is a regular file of the directory's
/// owner.
///
/// Files with other names do not belong to the spool and are only listed.
pub fn list(dir: &Path) -> Result<Listing, DirError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| DirError::Unreadable { path, source }
    };
    let meta = fs::symlink_metadata(dir).map_err(unreadable(dir))?;
    if meta.is_symlink() {
        return Err(DirError::Symlink { path: dir.into() });
    }
    if !meta.is_dir() {
        return Err(DirError::NotADirectory { path: dir.into() });
    }
    let mut listing = Listing::default();
    let mut indexes = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable(dir))? {
        let entry = entry.map_err(unreadable(dir))?;
        let path = entry.path();
        let name = entry.file_name();
        let Some((number, extension)) = name.to_str().and_then(parse_name) else {
            listing.foreign.push(path);
            continue;
        };
        let file = match fs::symlink_metadata(&path) {
            Ok(file) => file,
            // The agent dropped the segment after the directory was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(&path)(error)),
        };
        check_file(&path, &file, &meta)?;
        match extension {
            "seg" => listing
                .segments
                .push(SegmentFiles::of_len(dir, number, file.len())),
            _ => indexes.push(number),
        }
    }
    listing.segments.sort_unstable_by_key(|files| files.number);
    let has_segment = |number: &u64| {
        let segments = &listing.segments;
        segments
            .binary_search_by_key(number, |files| files.number)
            .is_ok()
    };
    indexes.retain(|number| !has_segment(number));
    listing.orphan_indexes = indexes
        .into_iter()
        .map(|number| SegmentFiles::new(dir, number))
        .collect();
    Ok(listing)
}

fn parse_name(name: &str) -> Option<(u64, &str)> {
    let (number, extension) = name.split_once('.')?;
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let ours = number.len() == 16 && number.bytes().all(hex) && matches!(extension, "seg" | "idx");
    ours.then(|| Some((u64::from_str_radix(number, 16).ok()?, extension)))?
}

fn check_file(path: &Path, file: &Metadata, dir: &Metadata) -> Result<(), DirError> {
    use std::os::unix::fs::MetadataExt;

    let path = || path.to_owned();
    if file.is_symlink() {
        Err(DirError::Symlink { path: path() })
    } else if !file.is_file() {
        Err(DirError::NotAFile { path: path() })
    } else if file.uid() != dir.uid() {
        Err(DirError::OtherOwner {
            path: path(),
            uid: file.uid(),
            owner: dir.uid(),
        })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_the_agent_gives_are_segments() {
        assert_eq!(parse_name("00000000000000ff.seg"), Some((255, "seg")));
        assert_eq!(parse_name("ffffffffffffffff.idx"), Some((u64::MAX, "idx")));
        for other in [
            "00000000000000FF.seg",
            "0000000000000ff.seg",
            "+0000000000000ff.seg",
            "00000000000000ff.seg.tmp",
            "00000000000000ff",
            ".seg",
        ] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }

    #[test]
    fn a_spool_that_is_not_there_is_an_error_that_names_it() {
        let error = list(Path::new("/nonexistent/spool")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read `/nonexistent/spool`");
    }
}
