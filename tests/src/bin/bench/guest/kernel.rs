//! Kernels of Debian, fetched from its archive. The packages of this machine do not change.
//!
//! A version is not pinned, because the archive removes old ones. apt checks the signature of the archive instead.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

const MIRROR: &str = "http://deb.debian.org/debian";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A series of kernels in a Debian release.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Series {
    pub(crate) suite: &'static str,
    /// Begin of the version; empty for the newest kernel of the release.
    pub(crate) begin: &'static str,
    /// Debian's name of the architecture.
    pub(crate) architecture: &'static str,
}

/// An unpacked kernel.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    pub(crate) release: String,
    pub(crate) image: PathBuf,
}

impl Kernel {
    /// Returns the kernel in `cache`. Fetches it when it is not there.
    pub(crate) fn fetch(series: Series, cache: &Path) -> Result<Self> {
        if let Some(kernel) = Self::find(cache)? {
            return Ok(kernel);
        }
        fs::create_dir_all(cache)?;
        let packages = Packages::of(series, &cache.join("apt"))?;
        let flavour = format!("cloud-{}", series.architecture);
        // Since 7.2 the package of the image is empty, and `linux-binary` has the kernel.
        let version = match series.begin {
            "" => "[0-9]".to_owned(),
            begin => begin.replace('.', "\\."),
        };
        let pattern = format!("^linux-(binary|image)-{version}.*-{flavour}$");
        let found = packages.search(&pattern)?;
        let package = newest(&found)
            .with_context(|| format!("{} has no package that matches `{pattern}`", series.suite))?;
        let unpacked = cache.join("unpacked");
        packages.unpack(package, &unpacked)?;
        let release = package.trim_start_matches(|c: char| !c.is_ascii_digit());
        let places = [
            format!("boot/vmlinuz-{release}"),
            format!("usr/lib/modules/{release}/vmlinuz"),
        ];
        let place = places
            .iter()
            .map(|place| unpacked.join(place))
            .find(|place| place.exists());
        let place = place.with_context(|| format!("package `{package}` has no kernel"))?;
        fs::rename(place, cache.join(format!("vmlinuz-{release}")))?;
        // The modules are ten times the size of the kernel, and no guest loads one.
        fs::remove_dir_all(&unpacked)?;
        fs::remove_dir_all(cache.join("apt"))?;
        Self::find(cache)?.context("the kernel was fetched and is not there")
    }

    fn find(cache: &Path) -> Result<Option<Self>> {
        if !cache.exists() {
            return Ok(None);
        }
        let names = fs::read_dir(cache)?.map(|entry| Ok(entry?.path()));
        let paths = names.collect::<Result<Vec<_>>>()?;
        Ok(paths.into_iter().find_map(|image| {
            let release = image.file_name()?.to_str()?.strip_prefix("vmlinuz-")?;
            Some(Self {
                release: release.to_owned(),
                image: image.clone(),
            })
        }))
    }
}

/// A package list of its own, so that the sources and pins of the host have no effect.
pub(crate) struct Packages {
    directory: PathBuf,
    options: Vec<String>,
}

impl Packages {
    pub(crate) fn of(series: Series, directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory.join("lists/partial"))?;
        let directory = fs::canonicalize(directory)?;
        let sources = directory.join("sources.list");
        let (suite, architecture) = (series.suite, series.architecture);
        let options = format!("signed-by={KEYRING} arch={architecture}");
        fs::write(&sources, format!("deb [{options}] {MIRROR} {suite} main\n"))?;
        let options = vec![
            format!("Dir::State::Lists={}", directory.join("lists").display()),
            format!("Dir::Etc::SourceList={}", sources.display()),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            format!("APT::Architecture={architecture}"),
            format!("APT::Architectures={architecture}"),
            // Only root can write to the cache directory, so apt must not change to its own user.
            "APT::Sandbox::User=root".to_owned(),
        ];
        let packages = Self { directory, options };
        packages.apt("apt-get", &["-q", "update"])?;
        Ok(packages)
    }

    fn search(&self, pattern: &str) -> Result<String> {
        self.apt("apt-cache", &["search", "--names-only", pattern])
    }

    /// Downloads a package and unpacks it, without its scripts.
    pub(crate) fn unpack(&self, package: &str, to: &Path) -> Result<()> {
        self.apt("apt-get", &["-q", "download", package])?;
        let mut entries = fs::read_dir(&self.directory)?
            .flatten()
            .map(|entry| entry.path());
        let deb = entries
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .context("apt-get downloaded no package")?;
        run(Command::new("dpkg").arg("-x").arg(&deb).arg(to))?;
        Ok(fs::remove_file(&deb)?)
    }

    fn apt(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(program);
        command.current_dir(&self.directory);
        for option in &self.options {
            command.args(["-o", option]);
        }
        run(command.args(arguments))
    }
}

/// Picks the highest version from the output of `apt-cache search`. Compares versions as numbers, not as text.
fn newest(found: &str) -> Option<&str> {
    let packages = found.lines().filter_map(|line| line.split(' ').next());
    packages.max_by_key(|package| {
        let numbers = package.split(|c: char| !c.is_ascii_digit());
        let numbers = numbers.filter_map(|number| number.parse::<u32>().ok());
        let has_kernel = package.starts_with("linux-binary-");
        (numbers.collect::<Vec<_>>(), has_kernel)
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

    #[test]
    fn the_package_with_the_kernel_is_taken() {
        let found =
            "linux-binary-7.2.13+deb14-cloud-amd64 - x\nlinux-image-7.2.13+deb14-cloud-amd64 - x\n";
        assert_eq!(newest(found), Some("linux-binary-7.2.13+deb14-cloud-amd64"));
    }
}
