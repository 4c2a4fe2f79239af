//! Running the script on the root directory of an image, on this machine.

use std::path::Path;

use tokio::process::Command;

use super::ScriptReport;
use super::bootstrap::{ProgramOutput, run_with_input};
use crate::error::CliError;
use crate::exit_code::Exit;

/// Runs `script` on the image at `root`.
pub(crate) async fn run(root: &Path, script: &str) -> Result<(ScriptReport, i32), CliError> {
    let mut command = Command::new("sh");
    command.arg("-s").arg("--").arg(root);
    let ProgramOutput { output, code, .. } = run_with_input(command, script)
        .await
        .map_err(|error| CliError::new(Exit::Failure, "cannot run `sh`").caused_by(&error))?;
    Ok((ScriptReport::read(&output), code))
}
