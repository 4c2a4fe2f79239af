//! The packages and tarballs of a release, and their checksums.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::{VERSION, sha256};

/// In the words of Rust and RPM.
pub(super) const ARCHITECTURES: [&str; 2] = ["x86_64", "aarch64"];

/// The architecture on which `vctl-agent` is tested. For the other one only `vctl` is released.
const TESTED: &str = "x86_64";

/// Copies the packages that `cargo xtask dist` wrote for one architecture of Linux, if there are any.
///
/// # Errors
/// A package does not have the checksum that `dist` wrote.
pub(super) fn copy_packages(from: &Path, out: &Path, arch: &str) -> Result<()> {
    let list = from.join("SHA256SUMS");
    if !list.exists() {
        return Ok(());
    }
    let text = fs::read_to_string(&list).with_context(|| list.display().to_string())?;
    for line in text.lines() {
        let (sum, name) = line
            .split_once("  ")
            .with_context(|| format!("`{line}` in `{}` is not a checksum", list.display()))?;
        let path = from.join(name);
        ensure!(
            sha256(&path)? == sum,
            "`{}` does not have the checksum in `{}`",
            path.display(),
            list.display()
        );
        if arch == TESTED || !name.starts_with("vctl-agent") {
            fs::copy(&path, out.join(name))?;
        }
    }
    Ok(())
}

/// Returns the names of all files in the directory, sorted.
pub(super) fn names(out: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(out)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Returns the packages and tarballs that a complete release has and this one does not have.
pub(super) fn absent(names: &[String]) -> Vec<String> {
    let is_here = |(begin, end): &(String, String)| {
        names
            .iter()
            .any(|name| name.starts_with(begin.as_str()) && name.ends_with(end.as_str()))
    };
    let absent = expected().into_iter().filter(|name| !is_here(name));
    absent
        .map(|(begin, end)| format!("{begin}*{end}"))
        .collect()
}

/// Begin and end of the name of each package and tarball.
fn expected() -> Vec<(String, String)> {
    let mut expected = Vec::new();
    for arch in ARCHITECTURES {
        let debian = if arch == "x86_64" { "amd64" } else { "arm64" };
        for package in ["vctl", "vctl-agent"] {
            if arch == TESTED || package == "vctl" {
                expected.push((format!("{package}_{VERSION}"), format!("_{debian}.deb")));
                expected.push((format!("{package}-{VERSION}"), format!(".{arch}.rpm")));
                expected.push((
                    format!("{package}-{VERSION}"),
                    format!("-linux-{arch}.tar.gz"),
                ));
            }
        }
        expected.push((format!("vctl-{VERSION}"), format!("-macos-{arch}.tar.gz")));
    }
    expected
}

/// Returns the name of the tarball of `vctl` for a system.
pub(super) fn tarball(system: &str, arch: &str) -> String {
    format!("vctl-{VERSION}-{system}-{arch}.tar.gz")
}

/// Returns the SHA-256 of each file, by name.
pub(super) fn sums(out: &Path, names: &[String]) -> Result<BTreeMap<String, String>> {
    names
        .iter()
        .map(|name| Ok((name.clone(), sha256(&out.join(name))?)))
        .collect()
}

/// Returns the sums in the format of `sha256sum`.
pub(super) fn sums_text(sums: &BTreeMap<String, String>) -> String {
    let lines = sums.iter().map(|(name, sum)| format!("{sum}  {name}\n"));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::release::testing::Directory;

    #[test]
    fn a_changed_package_is_refused() {
        let from = Directory::new("packages-from");
        let out = Directory::new("packages-out");
        let name = format!("vctl_{VERSION}_amd64.deb");
        fs::write(from.path.join(&name), "one").unwrap();
        fs::write(from.path.join("leftover.deb"), "old").unwrap();
        let sum = sha256(&from.path.join(&name)).unwrap();
        fs::write(from.path.join("SHA256SUMS"), format!("{sum}  {name}\n")).unwrap();
        copy_packages(&from.path, &out.path, "x86_64").unwrap();
        assert_eq!(names(&out.path).unwrap(), [name.as_str()]);
        fs::write(from.path.join(&name), "two").unwrap();
        let error = copy_packages(&from.path, &out.path, "x86_64").unwrap_err();
        assert!(error.to_string().contains("does not have the checksum"));
    }

    #[test]
    fn the_agent_is_released_only_where_it_is_tested() {
        let from = Directory::new("untested-from");
        let out = Directory::new("untested-out");
        let mut list = String::new();
        for name in ["vctl-agent_1_arm64.deb", "vctl_1_arm64.deb"] {
            fs::write(from.path.join(name), "").unwrap();
            let sum = sha256(&from.path.join(name)).unwrap();
            let _ = writeln!(list, "{sum}  {name}");
        }
        fs::write(from.path.join("SHA256SUMS"), list).unwrap();
        copy_packages(&from.path, &out.path, "aarch64").unwrap();
        assert_eq!(names(&out.path).unwrap(), ["vctl_1_arm64.deb"]);
    }

    #[test]
    fn each_missing_package_is_named() {
        let all = absent(&[]);
        assert_eq!(all.len(), 11, "{all:?}");
        let name = format!("vctl-agent-{VERSION}-1.x86_64.rpm");
        let absent = absent(std::slice::from_ref(&name));
        assert_eq!(absent.len(), 10, "{absent:?}");
        assert!(!absent.contains(&format!("vctl-agent-{VERSION}*.x86_64.rpm")));
        // The package of another program is not a substitute.
        assert!(absent.contains(&format!("vctl-{VERSION}*.x86_64.rpm")));
    }
}
