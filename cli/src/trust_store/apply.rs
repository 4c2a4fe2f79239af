//! Doing what was planned, and undoing it when it fails half way.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Step;
use crate::files::private_file;

/// The step that did not work, and why.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error("cannot write `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot remove `{}`", path.display())]
    Remove { path: PathBuf, source: io::Error },
    #[error("cannot run `{program}`")]
    Start { program: String, source: io::Error },
    #[error("`{program}` failed: {said}")]
    Run { program: String, said: String },
}

/// Does all steps in their order.
///
/// # Errors
/// The first that failed; files that were made before it are taken away again.
pub(crate) fn carry_out(steps: &[Step]) -> Result<(), Failed> {
    let mut made = Vec::new();
    for step in steps {
        if let Err(failed) = one(step, &mut made) {
            for path in made {
                // What cannot be undone is no news beside the failure.
                let _ = fs::remove_file(path);
            }
            return Err(failed);
        }
    }
    Ok(())
}

fn one(step: &Step, made: &mut Vec<PathBuf>) -> Result<(), Failed> {
    match step {
        Step::Write { path, pem } => {
            let failed = |source| Failed::Write {
                path: path.clone(),
                source,
            };
            let is_new = !path.exists();
            write(path, pem).map_err(failed)?;
            if is_new {
                made.push(path.clone());
            }
            Ok(())
        }
        Step::Remove { path } => match fs::remove_file(path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Failed::Remove {
                path: path.clone(),
                source,
            }),
            _ => Ok(()),
        },
        Step::Run { program, args } => run(program, args),
    }
}

fn write(path: &Path, pem: &str) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    private_file::replace(path, |out| out.write_all(pem.as_bytes()))?;
    fs::set_permissions(path, Permissions::from_mode(0o644))
}

fn run(program: &str, args: &[String]) -> Result<(), Failed> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Failed::Start {
            program: program.to_owned(),
            source,
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    let said = said.map_or_else(|| output.status.to_string(), str::to_owned);
    Err(Failed::Run {
        program: program.to_owned(),
        said,
    })
}
