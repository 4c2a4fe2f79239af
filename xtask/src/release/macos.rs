//! The tarballs of `vctl` for macOS.
//!
//! Manual pages and completions come from the tarball for Linux, because only the program differs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};

use super::{files, remove_directory};

/// First bytes of a 64-bit program for macOS, and its processor type.
const MAGIC: [u8; 4] = [0xcf, 0xfa, 0xed, 0xfe];
const X86_64: [u8; 4] = [7, 0, 0, 1];
const AARCH64: [u8; 4] = [12, 0, 0, 1];

/// Writes the tarball, if there are a program and a tarball for Linux.
pub(super) fn write_tarball(program: &Path, out: &Path, arch: &str) -> Result<()> {
    let linux = files::ARCHITECTURES.map(|arch| out.join(files::tarball("linux", arch)));
    let linux = linux.iter().find(|path| path.exists());
    let (true, Some(linux)) = (program.exists(), linux) else {
        return Ok(());
    };
    check_program(program, arch)?;
    let work = out.join(".macos");
    remove_directory(&work)?;
    fs::create_dir(&work)?;
    tar(&work, &["-xzf"], &[linux])?;
    let name = files::tarball("macos", arch);
    let tree = name.trim_end_matches(".tar.gz");
    let unpacked = linux.file_name().context("a file has a name")?;
    let unpacked = unpacked.to_string_lossy();
    fs::rename(
        work.join(unpacked.trim_end_matches(".tar.gz")),
        work.join(tree),
    )?;
    let to = work.join(tree).join("usr/bin/vctl");
    // All files of the tarball for Linux have the same time; it has no directories.
    let time = fs::metadata(&to)?.modified()?;
    let time = time.duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let time = format!("--mtime=@{time}");
    // A copy over a file would keep the mode of the file.
    fs::remove_file(&to)?;
    fs::copy(program, &to)?;
    fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
    let fixed = [
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--sort=name",
        &time,
    ];
    let paths = paths_of(linux, tree)?;
    let mut arguments = [&fixed[..], &["--format=gnu", "-cf", "tree.tar"]].concat();
    // As in the tarball for Linux, because directories would have the time and the umask of this run.
    arguments.extend(["--no-recursion", "--"]);
    arguments.extend(paths.iter().map(String::as_str));
    tar(&work, &arguments, &[])?;
    let mut gzip = Command::new("gzip");
    gzip.current_dir(&work).args(["-9n", "tree.tar"]);
    ensure!(gzip.status()?.success(), "`gzip` failed");
    fs::rename(work.join("tree.tar.gz"), out.join(name))?;
    remove_directory(&work)
}

/// Returns the paths of a tarball, below another directory.
fn paths_of(tarball: &Path, tree: &str) -> Result<Vec<String>> {
    let output = Command::new("tar").arg("-tzf").arg(tarball).output()?;
    ensure!(output.status.success(), "`tar -tzf` failed");
    let list = String::from_utf8(output.stdout)?;
    let below = list.lines().filter_map(|path| path.split_once('/'));
    Ok(below.map(|(_, path)| format!("{tree}/{path}")).collect())
}

fn check_program(program: &Path, arch: &str) -> Result<()> {
    let bytes = fs::read(program).with_context(|| program.display().to_string())?;
    let processor = if arch == "x86_64" { X86_64 } else { AARCH64 };
    ensure!(
        bytes.starts_with(&[MAGIC, processor].concat()),
        "`{}` is not a program for macOS on {arch}",
        program.display()
    );
    Ok(())
}

fn tar(directory: &Path, args: &[&str], files: &[&Path]) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.env("LC_ALL", "C").current_dir(directory);
    let status = tar.args(args).args(files).status()?;
    ensure!(status.success(), "`tar {}` failed", args.join(" "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::testing::{Directory, linux_tarball, macos_program};

    #[test]
    fn only_the_program_differs_from_the_tarball_for_linux() {
        let out = Directory::new("macos");
        let program = out.path.join("program");
        let linux = linux_tarball(&out.path, "x86_64");
        write_tarball(&program, &out.path, "aarch64").unwrap();
        assert!(!out.path.join(files::tarball("macos", "aarch64")).exists());
        fs::write(&program, macos_program("aarch64")).unwrap();
        write_tarball(&program, &out.path, "aarch64").unwrap();
        let written = out.path.join(files::tarball("macos", "aarch64"));
        let listed = |path: &Path, args: &[&str]| {
            let mut tar = Command::new("tar");
            let output = tar.args(args).arg("-tzf").arg(path).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            text.replace("-macos-aarch64/", "-linux-x86_64/")
        };
        assert_eq!(listed(&written, &[]), listed(&linux, &[]));
        // A time of this run would make each run write other bytes.
        let times = listed(&written, &["-v", "--utc"]);
        for line in times.lines() {
            assert!(line.contains(" 1970-01-01 00:16 "), "{line}");
        }
    }

    #[test]
    fn a_program_for_another_processor_is_refused() {
        let out = Directory::new("macos-other");
        linux_tarball(&out.path, "x86_64");
        let program = out.path.join("program");
        fs::write(&program, macos_program("x86_64")).unwrap();
        let error = write_tarball(&program, &out.path, "aarch64").unwrap_err();
        assert!(error.to_string().contains("for macOS on aarch64"));
    }
}
