//! Applies the planned steps, and undoes them if one fails.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::StoreStep;
use crate::files::private_file;

/// A failed step, and the reason.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    #[error("cannot write `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot remove `{}`", path.display())]
    Remove { path: PathBuf, source: io::Error },
    #[error("cannot run `{program}`")]
    Start { program: String, source: io::Error },
    #[error("`{program}` failed: {said}")]
    Run { program: String, said: String },
}

/// Applies all steps in order.
///
/// # Errors
/// The first failed step. Files of earlier steps are removed.
pub(crate) fn apply(steps: &[StoreStep]) -> Result<(), StepError> {
    let mut made = Vec::new();
    for step in steps {
        if let Err(failed) = one(step, &mut made) {
            for path in made {
                // Errors of the undo are ignored: the failed step is the error to report.
                let _ = fs::remove_file(path);
            }
            return Err(failed);
        }
    }
    Ok(())
}

fn one(step: &StoreStep, made: &mut Vec<PathBuf>) -> Result<(), StepError> {
    match step {
        StoreStep::Write { path, pem } => {
            let failed = |source| StepError::Write {
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
        StoreStep::Remove { path } => match fs::remove_file(path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StepError::Remove {
                path: path.clone(),
                source,
            }),
            _ => Ok(()),
        },
        StoreStep::Run { program, args } => run(program, args),
    }
}

fn write(path: &Path, pem: &str) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    private_file::replace(path, |out| out.write_all(pem.as_bytes()))?;
    fs::set_permissions(path, Permissions::from_mode(0o644))
}

fn run(program: &str, args: &[String]) -> Result<(), StepError> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| StepError::Start {
            program: program.to_owned(),
            source,
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    let said = said.map_or_else(|| output.status.to_string(), str::to_owned);
    Err(StepError::Run {
        program: program.to_owned(),
        said,
    })
}
