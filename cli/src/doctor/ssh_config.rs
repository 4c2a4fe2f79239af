//! Check: does the vctl exist that `ssh` runs by the installed ssh_config?

use std::fs;
use std::path::Path;

use nix::unistd::{AccessFlags, access};

use super::CheckResult;
use crate::files::private_file;
use crate::openssh;

const FIX: &str =
    "`vctl ssh-config --install` writes the file again, with the path of the running vctl";

/// Checks the program in the file that `vctl ssh-config` installs.
pub(super) fn check(config: &Path) -> CheckResult<()> {
    let shown = config.display();
    let program = match openssh::program(config) {
        Ok(Some(program)) => program,
        Ok(None) => return CheckResult::pass(format!("`{shown}` has no hosts"), ()),
        Err(error) if private_file::is_absence(&error) => {
            return CheckResult::pass("`ssh` does not use vctl: not installed", ());
        }
        Err(error) => {
            return CheckResult::warn(format!("cannot read `{shown}`: {error}"), FIX, ());
        }
    };
    let path = program.display();
    let problem = match fs::metadata(&program) {
        Err(error) if private_file::is_absence(&error) => "does not exist".to_owned(),
        Err(error) => format!("cannot be read: {error}"),
        Ok(found) if !found.is_file() => "is not a file".to_owned(),
        Ok(_) => match access(&program, AccessFlags::X_OK) {
            Ok(()) => return CheckResult::pass(format!("`ssh` runs `{path}`"), ()),
            Err(_) => "cannot be executed".to_owned(),
        },
    };
    CheckResult::warn(
        format!("`ssh` runs `{path}`, which {problem}; `{shown}` names it"),
        FIX,
        (),
    )
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::inventory::tests::host;
    use crate::openssh::{Paths, render};

    #[test]
    fn a_program_that_cannot_run_is_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        let (vctl, config) = (dir.path().join("my vctl"), dir.path().join("config"));
        let passes = || match check(&config) {
            CheckResult::Pass { .. } => true,
            CheckResult::Warn { found, fix, .. } => {
                assert!(found.contains("my vctl"), "{found}");
                assert!(fix.contains("ssh-config --install"), "{fix}");
                false
            }
            CheckResult::Fail { .. } => panic!("a failure"),
        };
        assert!(passes());
        let paths = Paths {
            vctl: &vctl,
            agent: dir.path(),
        };
        let hosts = [host("web-1")];
        let text = render(&hosts, paths, true).unwrap().text;
        fs::write(&config, text).unwrap();
        assert!(!passes());
        fs::write(&vctl, "").unwrap();
        assert!(!passes());
        fs::set_permissions(&vctl, Permissions::from_mode(0o700)).unwrap();
        assert!(passes());
        fs::remove_file(&vctl).unwrap();
        fs::create_dir(&vctl).unwrap();
        assert!(!passes());
    }
}
