//! Directories and small files for the tests of a release.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::files::tarball;

/// A new directory, which is removed at the end of the test.
pub(super) struct Directory {
    pub(super) path: PathBuf,
}

impl Directory {
    /// `name` is different in each test.
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("xtask-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self { path }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Writes a tarball with a program, a link and a page, and returns its path.
pub(super) fn linux_tarball(out: &Path, arch: &str) -> PathBuf {
    let name = tarball("linux", arch);
    let tree = name.trim_end_matches(".tar.gz");
    for directory in ["usr/bin", "usr/share/man/man1"] {
        fs::create_dir_all(out.join(tree).join(directory)).unwrap();
    }
    fs::write(out.join(tree).join("usr/bin/vctl"), "program").unwrap();
    std::os::unix::fs::symlink("vctl", out.join(tree).join("usr/bin/dbedit")).unwrap();
    fs::write(out.join(tree).join("usr/share/man/man1/vctl.1.gz"), "page").unwrap();
    // As `cargo xtask dist`: files without their directories.
    let files = [
        "usr/bin/dbedit",
        "usr/bin/vctl",
        "usr/share/man/man1/vctl.1.gz",
    ];
    let mut tar = Command::new("tar");
    tar.current_dir(out).args(["--mtime=@1000", "-czf", &name]);
    tar.args(["--no-recursion", "--"]);
    tar.args(files.map(|file| format!("{tree}/{file}")));
    assert!(tar.status().unwrap().success());
    fs::remove_dir_all(out.join(tree)).unwrap();
    out.join(name)
}

/// Returns the first bytes of a program for macOS.
pub(super) fn macos_program(arch: &str) -> Vec<u8> {
    let processor = if arch == "x86_64" { 7 } else { 12 };
    vec![0xcf, 0xfa, 0xed, 0xfe, processor, 0, 0, 1, 0, 0]
}
