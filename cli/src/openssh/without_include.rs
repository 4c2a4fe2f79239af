//! A copy of ssh_config without vctl's own `Include` line.
//!
//! The included lines come from the inventory, so reading them back adds nothing. OpenSSH uses the first value of an
//! option, so they would also hide the user's own settings for a host.

use std::fs;
use std::path::{Path, PathBuf};

use uuid::Uuid;
use vctl_common::foreign_file::{self, Pipes};

use crate::error::CliError;
use crate::exit_code::Exit;
use crate::files::private_file;
use crate::files::ssh_config_reader::{MOST, SYSTEM};
use crate::files::state_dir::StateDir;
use crate::openssh::{Include, SocketDir};

/// A temporary copy of the file without the line.
#[derive(Debug)]
pub(crate) struct ConfigWithoutInclude(PathBuf);

impl ConfigWithoutInclude {
    /// Makes a copy if the file has the line. `with_systems` adds the system's file, which `ssh` does not read when it is
    /// given a file.
    pub(crate) fn of(file: &Path, with_systems: bool) -> Result<Option<Self>, CliError> {
        let state = StateDir::find();
        let place = SocketDir::of(&state);
        // A path that cannot be written into ssh_config has no such line.
        let Ok(include) = Include::new(file.to_owned(), &place.config()) else {
            return Ok(None);
        };
        let text = foreign_file::read(file, MOST, Pipes::Allowed).ok();
        let Some(mut text) = text.and_then(|text| include.text_without(&text)) else {
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

impl Drop for ConfigWithoutInclude {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
