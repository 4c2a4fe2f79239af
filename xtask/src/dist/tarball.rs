//! A tarball with a static program and the files of the package, to unpack over `/`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::{Build, VERSION, contents, programs};
use crate::command::quietly;

/// Refuses a program that needs the C library of the system.
pub(super) fn check(program: &Path) -> Result<()> {
    ensure!(
        programs::glibc(program)?.is_none(),
        "`{}` is a dynamic program; a tarball needs a static one",
        program.display()
    );
    Ok(())
}

/// Writes the tarball, and returns the name of its file.
pub(super) fn write(build: &Build) -> Result<String> {
    check(&build.program)?;
    let name = format!(
        "{}-{VERSION}-linux-{}",
        build.package.name,
        std::env::consts::ARCH
    );
    let paths = contents::stage(build, &build.work.join(&name), str::to_owned)?;
    let tar = archive(build, &name, &paths)?;
    let level = if build.is_small { "-9nf" } else { "-1nf" };
    quietly(build.command("gzip").arg(level).arg(&tar))?;
    let file = format!("{name}.tar.gz");
    fs::rename(build.work.join(&file), build.out.join(&file))?;
    Ok(file)
}

/// Archives the files without their directories: tar would replace a link such as `/usr/sbin` by a directory, and change
/// the modes of the directories of the system.
fn archive(build: &Build, name: &str, paths: &[String]) -> Result<PathBuf> {
    let tar = build.work.join(format!("{name}.tar"));
    let mut command = build.command("tar");
    command.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
    command.arg(format!("--mtime=@{}", build.epoch));
    command.args(["--format=gnu", "-C"]).arg(&build.work);
    command.arg("-cf").arg(&tar);
    command.args(["--no-recursion", "--"]);
    command.args(paths.iter().map(|path| format!("{name}/{path}")));
    quietly(&mut command)?;
    Ok(tar)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::process::Command;

    use super::super::PACKAGES;
    use super::*;

    #[test]
    fn unpacking_changes_no_link_and_no_mode_of_the_system() {
        let work = tempfile::tempdir().unwrap();
        let at = |path: &str| work.path().join(path);
        let build = Build {
            package: PACKAGES[1],
            program: PathBuf::new(),
            work: work.path().to_owned(),
            out: work.path().to_owned(),
            epoch: 1,
            is_small: false,
        };
        for directory in [
            "packed/usr/sbin",
            "packed/usr/share",
            "root/usr/bin",
            "root/usr/share",
        ] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        let paths = ["usr/sbin/program", "usr/share/page"].map(str::to_owned);
        for path in &paths {
            fs::write(at("packed").join(path), path).unwrap();
        }
        symlink("bin", at("root/usr/sbin")).unwrap();
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(at("root/usr/share"), private).unwrap();
        let tar = archive(&build, "packed", &paths).unwrap();
        // The command of deploy/packages/README.md, without the compression.
        let mut unpack = Command::new("tar");
        unpack.arg("-xf").arg(tar).arg("-C").arg(at("root"));
        quietly(unpack.args(["--strip-components=1", "--no-same-owner"])).unwrap();
        assert_eq!(
            fs::read_link(at("root/usr/sbin")).unwrap(),
            Path::new("bin")
        );
        let program = fs::read_to_string(at("root/usr/bin/program")).unwrap();
        assert_eq!(program, "usr/sbin/program");
        let mode = fs::metadata(at("root/usr/share"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
