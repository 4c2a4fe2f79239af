//! Reads PAM's files from the directories of libpam, in its order.

use std::collections::BTreeMap;
use std::fs;
use std::fs::File;
use std::io;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;

use super::inside::inside;
use super::lines::{fields, logical_lines};

/// Directories of service files; a file in a later directory replaces one of the same name.
///
/// `/usr/etc` and `/usr/share` are the vendor directories with which distributions build Linux-PAM.
const DIRECTORIES: [&str; 4] = [
    "usr/share/pam.d",
    "usr/etc/pam.d",
    "usr/lib/pam.d",
    "etc/pam.d",
];

/// The single file that libpam reads if neither `/etc/pam.d` nor `/usr/lib/pam.d` exists.
pub(super) const CONF: &str = "/etc/pam.conf";

/// Most absolute paths of includes that are read.
const ABSOLUTE_MAX: usize = 64;

/// One file, with its path on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PamFile {
    pub(super) path: String,
    pub(super) text: String,
    /// For each line of `text`, the number of lines before it in the file: a service of
    /// `/etc/pam.conf` is only a part.
    pub(super) lines_before: Vec<usize>,
}

/// Files of a host by service name, or by path if an include contains one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PamFiles {
    files: BTreeMap<String, PamFile>,
    /// Text of `/etc/pam.conf`, if libpam reads it.
    conf: Option<String>,
}

impl PamFiles {
    /// Reads the files below `root`.
    pub fn read(root: &Path) -> Self {
        let mut files = Self::default();
        for directory in DIRECTORIES {
            for path in sorted(&root.join(directory)) {
                let name = path.file_name().and_then(|name| name.to_str());
                let Some(name) = name.filter(|name| is_service(name)) else {
                    continue;
                };
                let path = format!("/{directory}/{name}");
                if let Some(text) = read(root, &path) {
                    files.put(name, path, text);
                }
            }
        }
        if !root.join("etc/pam.d").is_dir() && !root.join("usr/lib/pam.d").is_dir() {
            files.conf = read(root, CONF);
        }
        files.read_absolute(root);
        files
    }

    /// Adds files that an include names by absolute path.
    fn read_absolute(&mut self, root: &Path) {
        for _ in 0..ABSOLUTE_MAX {
            let texts = self.files.values().map(|file| &file.text);
            let missing = texts
                .chain(&self.conf)
                .flat_map(|text| logical_lines(text))
                .flat_map(|line| fields(&line.text))
                .filter(|field| field.starts_with('/') && !field.contains(".so"))
                .find_map(|path| {
                    let new = !self.files.contains_key(&path);
                    // A program that pam_exec runs is not text, or is far too long for a PAM file.
                    let text = new.then(|| read(root, &path)).flatten()?;
                    Some((path, text))
                });
            let Some((path, text)) = missing else { break };
            self.put(&path.clone(), path, text);
        }
    }

    fn put(&mut self, name: &str, path: String, text: String) {
        let file = PamFile {
            path,
            text,
            lines_before: Vec::new(),
        };
        self.files.insert(name.to_owned(), file);
    }

    /// Returns path and text of each file of a service or of an include.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        let files = self.files.values();
        files.map(|file| (file.path.as_str(), file.text.as_str()))
    }

    /// Returns the file of a service or of an include.
    pub(super) fn get(&self, name: &str) -> Option<&PamFile> {
        self.files
            .get(name)
            .or_else(|| self.files.get(name.rsplit('/').next()?))
    }

    /// Returns a service's part of `/etc/pam.conf`, without the service's name.
    pub(super) fn service_of_conf(&self, service: &str) -> Option<PamFile> {
        let text = self.conf.as_ref()?;
        let mut part = PamFile {
            path: CONF.to_owned(),
            text: String::new(),
            lines_before: Vec::new(),
        };
        for line in logical_lines(text) {
            let trimmed = line.text.trim();
            let (name, rest) = trimmed.split_once([' ', '\t']).unwrap_or((trimmed, ""));
            if name.eq_ignore_ascii_case(service) {
                part.text.push_str(rest);
                part.text.push('\n');
                part.lines_before.push(line.first);
            }
        }
        (!part.text.is_empty()).then_some(part)
    }

    /// Adds or replaces a file of `/etc/pam.d`.
    pub(crate) fn insert(&mut self, name: &str, text: &str) {
        self.put(name, format!("/etc/pam.d/{name}"), text.to_owned());
    }

    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let mut all = Self::default();
        for (name, text) in files {
            all.insert(name, text);
        }
        all
    }
}

/// Endings of the copies that dpkg, rpm, ucf and editors leave beside a file. The script `prerm` of the package passes
/// over the same files.
const COPIES: [&str; 13] = [
    ".dpkg-bak",
    ".dpkg-dist",
    ".dpkg-new",
    ".dpkg-old",
    ".dpkg-remove",
    ".dpkg-tmp",
    ".rpmnew",
    ".rpmorig",
    ".rpmsave",
    ".ucf-dist",
    ".ucf-new",
    ".ucf-old",
    "~",
];

/// Returns false for a copy and for a hidden file, such as the unfinished one of an edit that a crash ended. No service
/// has such a name.
fn is_service(name: &str) -> bool {
    !name.starts_with('.') && !COPIES.iter().any(|end| name.ends_with(end))
}

/// Longest file that is read.
const FILE_MAX: u64 = 1 << 20;

/// Returns the text of a file, unless it is a program or too long.
pub(super) fn read(root: &Path, path: &str) -> Option<String> {
    let mut file = open(root, path).ok()?;
    let is_short = |meta: fs::Metadata| meta.is_file() && meta.len() <= FILE_MAX;
    if !file.metadata().is_ok_and(is_short) {
        return None;
    }
    // Latin-1 in a comment must not hide a line.
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    (!bytes.contains(&0)).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

/// Opens a file of the host. A link that leaves an image leads to a file of the image, as on the host itself, and not to
/// a file of this machine: `authselect` makes absolute links.
fn open(root: &Path, path: &str) -> io::Result<File> {
    // Opening a named pipe would wait for its writer.
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    if let Ok(real) = inside(root, path) {
        return Ok(File::from(nix::fcntl::open(&real, flags, Mode::empty())?));
    }
    let how = OpenHow::new()
        .flags(flags)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT);
    let path = path.trim_start_matches('/');
    Ok(File::from(openat2(&File::open(root)?, path, how)?))
}

fn sorted(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn copies_of_a_file_are_no_services() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("etc/pam.d");
        fs::create_dir_all(&directory).unwrap();
        for name in [
            "sshd",
            "sshd.dpkg-old",
            ".sshd.new",
            "sshd.dpkg-bak",
            "sshd.dpkg-remove",
            "sshd.rpmsave",
            "sshd.ucf-dist",
            "sshd.ucf-new",
            "sshd~",
        ] {
            fs::write(directory.join(name), "session required pam_unix.so\n").unwrap();
        }
        let files = PamFiles::read(root.path());
        let paths: Vec<&str> = files.texts().map(|(path, _)| path).collect();
        assert_eq!(paths, ["/etc/pam.d/sshd"]);
    }

    #[test]
    fn an_absolute_link_of_an_image_stays_in_the_image() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("etc/pam.d")).unwrap();
        fs::create_dir_all(at("etc/authselect")).unwrap();
        fs::write(at("etc/authselect/system-auth"), "of the image\n").unwrap();
        symlink("/etc/authselect/system-auth", at("etc/pam.d/system-auth")).unwrap();
        // A file that exists on this machine only.
        let machine = tempfile::NamedTempFile::new().unwrap();
        symlink(machine.path(), at("etc/pam.d/sshd")).unwrap();
        let files = PamFiles::read(root.path());
        assert_eq!(files.get("system-auth").unwrap().text, "of the image\n");
        assert_eq!(files.get("sshd"), None);
    }
}
