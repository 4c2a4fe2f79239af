//! The files of an image: a tarball, a disk, the kernel with its initial file system, the packages, and the sums.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::sha256_of;
use crate::boot::root::boot_file;
use crate::command::quietly;

const TARBALL: &str = "root.tar";
const DISK: &str = "disk.ext4";
const KERNEL: &str = "vmlinuz";
const INITRD: &str = "initrd.img";
const PACKAGES: &str = "packages";
pub(super) const SUMS: &str = "SHA256SUMS";
/// The files of which `SUMS` has the digests.
pub(super) const NAMES: [&str; 5] = [DISK, INITRD, KERNEL, PACKAGES, TARBALL];

/// The disk is a sparse file; the spool alone may take 1 GiB.
const DISK_SIZE: u64 = 3 << 30;
/// Ids that a new file system would draw at random. The label names the disk, and no program needs the ids to differ
/// between hosts.
const UUID: &str = "6f9b5c1e-8a3d-4c57-9a52-0d8e0b1c7f10";
const HASH_SEED: &str = "6f9b5c1e-8a3d-4c57-9a52-0d8e0b1c7f11";

/// Writes the files of the image to the directory `image`.
pub(super) fn write(root: &Path, image: &Path, epoch: u64, packages: &[String]) -> Result<()> {
    clamp_times(root, epoch)?;
    fs::write(image.join(PACKAGES), packages.join("\n") + "\n")?;
    for (name, begin) in [(KERNEL, "vmlinuz"), (INITRD, "initrd.img")] {
        fs::copy(boot_file(root, begin)?, image.join(name))?;
    }
    tarball(root, &image.join(TARBALL), epoch)?;
    disk(root, &image.join(DISK), DISK_SIZE, epoch)?;
    let mut sums = String::new();
    for name in NAMES {
        let _ = writeln!(sums, "{}  {name}", sha256_of(&image.join(name))?);
    }
    Ok(fs::write(image.join(SUMS), sums)?)
}

/// Gives files that this build changed the time of the image.
fn clamp_times(root: &Path, epoch: u64) -> Result<()> {
    let mut find = Command::new("find");
    find.arg(root).args(["-newermt", &format!("@{epoch}")]);
    find.args([
        "-exec",
        "touch",
        "-h",
        "-d",
        &format!("@{epoch}"),
        "{}",
        "+",
    ]);
    quietly(&mut find).map(drop)
}

fn tarball(root: &Path, file: &Path, epoch: u64) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args([
        "--sort=name",
        "--numeric-owner",
        "--xattrs",
        "--xattrs-include=*",
    ]);
    // The names of extended headers have a process id by default.
    tar.args([
        "--format=posix",
        "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
    ]);
    tar.arg(format!("--mtime=@{epoch}")).arg("--clamp-mtime");
    tar.arg("-C").arg(root).arg("-cf").arg(file).arg(".");
    quietly(&mut tar).context("cannot write the tarball")?;
    Ok(())
}

fn disk(root: &Path, file: &Path, size: u64, epoch: u64) -> Result<()> {
    File::create(file)?.set_len(size)?;
    let mut make = with_time("mkfs.ext4", epoch);
    make.args(["-q", "-L", "root", "-U", UUID, "-E"]);
    make.arg(format!("hash_seed={HASH_SEED},root_owner=0:0"));
    quietly(make.arg("-d").arg(root).arg(file)).context("cannot write the disk")?;
    // mkfs.ext4 copies the times at which this machine unpacked the files.
    let script = file.with_extension("times");
    fs::write(&script, times(root, epoch)?)?;
    let mut debugfs = with_time("debugfs", epoch);
    debugfs.arg("-w").arg("-f").arg(&script).arg(file);
    let output = debugfs.output().context("cannot run `debugfs`")?;
    fs::remove_file(script)?;
    // debugfs ends with 0 after a command that failed. The first line of its messages is its version.
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let errors: Vec<_> = errors.lines().skip(1).collect();
    ensure!(
        output.status.success() && errors.is_empty(),
        "cannot set the times of the disk: {}",
        errors.join("; ")
    );
    Ok(())
}

/// Returns commands of debugfs that set the times of all files.
fn times(root: &Path, epoch: u64) -> Result<String> {
    let mut script = String::new();
    for path in paths(root)? {
        let name = path.to_str().context("a path in the image is not UTF-8")?;
        ensure!(
            !name.contains(['"', '\n']),
            "`{name}` has a quote or a line end in its name"
        );
        for time in ["atime", "ctime", "crtime"] {
            let _ = writeln!(script, "set_inode_field \"/{name}\" {time} @{epoch}");
        }
    }
    Ok(script)
}

/// Returns the paths below the root, relative to it, and the root itself as an empty one.
fn paths(root: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = vec![PathBuf::new()];
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for file in fs::read_dir(&directory)? {
            let file = file?;
            paths.push(file.path().strip_prefix(root)?.to_owned());
            if file.file_type()?.is_dir() {
                directories.push(file.path());
            }
        }
    }
    paths.sort();
    Ok(paths)
}

/// Returns a tool of e2fsprogs that takes this time for now. Versions before 1.47.1 know only the second variable.
fn with_time(program: &str, epoch: u64) -> Command {
    let mut command = Command::new(program);
    command.env("SOURCE_DATE_EPOCH", epoch.to_string());
    command.env("E2FSPROGS_FAKE_TIME", epoch.to_string());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_roots_with_the_same_files_give_the_same_bytes() {
        let work = tempfile::tempdir().unwrap();
        let epoch = 1_764_000_000;
        let [first, second] = ["one", "two"].map(|name| {
            let root = work.path().join(name);
            fs::create_dir_all(root.join("etc")).unwrap();
            fs::write(root.join("etc/a file"), "x").unwrap();
            clamp_times(&root, epoch).unwrap();
            let [tar, ext4] = ["tar", "ext4"].map(|end| work.path().join(format!("{name}.{end}")));
            tarball(&root, &tar, epoch).unwrap();
            disk(&root, &ext4, 16 << 20, epoch).unwrap();
            [tar, ext4].map(|file| sha256_of(&file).unwrap())
        });
        assert_eq!(first, second);
    }
}
