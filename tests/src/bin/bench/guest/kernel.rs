//! Debian's 6.12 cloud kernel, fetched from its archive. The packages of this machine do not change.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Debian release with the kernel series, and the series.
const SUITE: &str = "trixie";
const SERIES: &str = "6.12.";
const MIRROR: &str = "http://deb.debian.org/debian";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An unpacked kernel.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    pub(crate) release: String,
    pub(crate) image: PathBuf,
}

impl Kernel {
    /// Returns the kernel in `cache`. Fetches it when it is not there.
    pub(crate) fn fetch(cache: &Path) -> Result<Self> {
        let unpacked = cache.join("root");
        if let Some(kernel) = Self::find(&unpacked) {
            return Ok(kernel);
        }
        // A separate package list, so that the sources and pins of the host have no effect.
        fs::create_dir_all(cache.join("lists/partial"))?;
        let cache = fs::canonicalize(cache)?;
        let sources = cache.join("sources.list");
        fs::write(
            &sources,
            format!("deb [signed-by={KEYRING}] {MIRROR} {SUITE} main\n"),
        )?;
        let options = [
            format!("Dir::State::Lists={}", cache.join("lists").display()),
            format!("Dir::Etc::SourceList={}", sources.display()),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            // Only root can write to the cache directory, so apt must not change to its own user.
            "APT::Sandbox::User=root".to_owned(),
        ];
        let apt = |program: &str, arguments: &[&str]| -> Result<String> {
            let mut command = Command::new(program);
            command.current_dir(&cache);
            for option in &options {
                command.args(["-o", option]);
            }
            run(command.args(arguments))
        };
        apt("apt-get", &["-q", "update"])?;
        let pattern = format!("^linux-image-{}.*-cloud-amd64$", SERIES.replace('.', "\\."));
        let found = apt("apt-cache", &["search", "--names-only", &pattern])?;
        let package = newest(&found)
            .with_context(|| format!("{SUITE} has no package that matches `{pattern}`"))?;
        apt("apt-get", &["-q", "download", package])?;
        let deb = fs::read_dir(&cache)?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .context("apt-get downloaded no package")?;
        run(Command::new("dpkg").arg("-x").arg(&deb).arg(&unpacked))?;
        fs::remove_file(&deb)?;
        Self::find(&unpacked).context("the package holds no kernel")
    }

    fn find(unpacked: &Path) -> Option<Self> {
        let entries = fs::read_dir(unpacked.join("boot")).ok()?;
        entries.flatten().find_map(|entry| {
            let name = entry.file_name();
            let release = name.to_str()?.strip_prefix("vmlinuz-")?;
            Some(Self {
                release: release.to_owned(),
                image: entry.path(),
            })
        })
    }
}

/// Picks the highest version from the output of `apt-cache search`. Compares versions as numbers, not as text.
fn newest(found: &str) -> Option<&str> {
    let packages = found.lines().filter_map(|line| line.split(' ').next());
    packages.max_by_key(|package| {
        package
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|number| number.parse::<u32>().ok())
            .collect::<Vec<_>>()
    })
}

fn run(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::newest;

    #[test]
    fn versions_are_compared_as_numbers() {
        let found = "linux-image-6.12.9+deb13-cloud-amd64 - Linux\nlinux-image-6.12.107+deb13-cloud-amd64 - Linux\n";
        assert_eq!(
            newest(found),
            Some("linux-image-6.12.107+deb13-cloud-amd64")
        );
        assert_eq!(newest(""), None);
    }
}
