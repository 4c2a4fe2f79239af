//! The ssh_config as it was before `vctl ssh-config`.
//!
//! What that includes comes from the inventory, so it is no news to it; and of two values OpenSSH takes the
//! first, so it would hide what else is said of a host.

use std::fs;
use std::path::{Path, PathBuf};

use uuid::Uuid;
use vctl_common::foreign_file::{self, Pipes};

use crate::error::CliError;
use crate::exit_code::Exit;
use crate::files::private_file;
use crate::files::ssh_config::{MOST, SYSTEM};
use crate::files::state_dir::StateDir;
use crate::openssh::{Include, MeetingPlace};

/// A copy of a file without our line, while it is kept.
#[derive(Debug)]
pub(crate) struct Before(PathBuf);

impl Before {
    /// Makes one, where the file has our line. `with_systems`: `ssh` reads the system's file behind it, and no
    /// other than its own when it is told of one.
    pub(crate) fn of(file: &Path, with_systems: bool) -> Result<Option<Self>, CliError> {
        let state = StateDir::find();
        let place = MeetingPlace::of(&state);
        // A home that cannot be written there has no such line.
        let Ok(include) = Include::new(file.to_owned(), &place.config()) else {
            return Ok(None);
        };
        let text = foreign_file::read(file, MOST, Pipes::Allowed).ok();
        let Some(mut text) = text.and_then(|text| include.left_out_of(&text)) else {
            return Ok(None);
        };
        if with_systems && Path::new(SYSTEM).exists() {
            text.extend(format!("\nMatch all\nInclude {SYSTEM}\n").into_bytes());
        }
        place.make(&state)?;
        let path = place.temporary(&Uuid::new_v4().to_string());
        private_file::replace(&path, |out| out.write_all(&text)).map_err(|error| {
            CliError::new(Exit::Failure, format!("cannot write `{}`", path.display()))
                .caused_by(&error)
        })?;
        Ok(Some(Self(path)))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Before {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
