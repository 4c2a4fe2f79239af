//! Running the script on the root directory of an image, on this machine.

use std::path::Path;

use tokio::process::Command;

use super::Report;
use super::bootstrap::{Ended, feed};
use crate::error::CliError;
use crate::exit_code::Exit;

/// Runs `script` on the image at `root`.
pub(crate) async fn run(root: &Path, script: &str) -> Result<(Report, i32), CliError> {
    let mut command = Command::new("sh");
    command.arg("-s").arg("--").arg(root);
    let Ended { output, code, .. } = feed(command, script)
        .await
        .map_err(|error| CliError::new(Exit::Failure, "cannot run `sh`").caused_by(&error))?;
    Ok((Report::read(&output), code))
}
