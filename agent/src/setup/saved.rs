//! A path before setup changes it: a file, or a link that setup itself replaces.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, lchown, symlink};
use std::path::Path;

use vctl_common::atomic_file::{Durability, NewFile, Unfinished};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Saved {
    /// Content of the file, or target of the link: a target need not be UTF-8.
    pub(super) bytes: Vec<u8>,
    pub(super) is_link: bool,
    pub(super) mode: u32,
    pub(super) owner: u32,
    pub(super) group: u32,
}

impl Saved {
    /// Reads a file, or the target of a link; `None` if the path does not exist.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        let meta = match fs::symlink_metadata(path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let is_link = meta.is_symlink();
        Ok(Some(Self {
            bytes: if is_link {
                fs::read_link(path)?.into_os_string().into_vec()
            } else {
                fs::read(path)?
            },
            is_link,
            mode: meta.mode() & 0o7777,
            owner: meta.uid(),
            group: meta.gid(),
        }))
    }

    /// Replaces a path by the saved file or link. A link at the path is itself replaced.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        if self.is_link {
            return self.write_link(path);
        }
        let file = NewFile {
            mode: Some(self.mode),
            owner: Some(self.owner),
            group: Some(self.group),
            ..NewFile::private(Durability::Synced, Unfinished::OneName)
        };
        file.replace(path, |out| out.write_all(&self.bytes))
    }

    /// As with a file, the path has the old content or the new at each moment.
    fn write_link(&self, path: &Path) -> io::Result<()> {
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(".new");
        let unfinished = path.with_file_name(name);
        // Left by a crash.
        let _ = fs::remove_file(&unfinished);
        symlink(std::ffi::OsStr::from_bytes(&self.bytes), &unfinished)?;
        lchown(&unfinished, Some(self.owner), Some(self.group))?;
        fs::rename(&unfinished, path)
    }
}

pub(super) fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_written_back_with_its_target_untouched() {
        let work = tempfile::tempdir().unwrap();
        let (link, target) = (work.path().join("link"), work.path().join("target"));
        fs::write(&target, "of the target").unwrap();
        let odd = OsString::from_vec(b"./\xfftarget".to_vec());
        for to in [target.as_os_str(), &odd] {
            let _ = fs::remove_file(&link);
            symlink(to, &link).unwrap();
            let saved = Saved::read(&link).unwrap().unwrap();
            assert!(saved.is_link);
            fs::remove_file(&link).unwrap();
            fs::write(&link, "of the setup").unwrap();
            saved.write(&link).unwrap();
            assert_eq!(fs::read_link(&link).unwrap(), to);
            assert_eq!(fs::read_to_string(&target).unwrap(), "of the target");
        }
        assert_eq!(Saved::read(&work.path().join("gone")).unwrap(), None);
    }
}
