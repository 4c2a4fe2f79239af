//! Files of the user: private ones, and the state directory.

pub(crate) mod home;
pub(crate) mod private_file;
pub(crate) mod ssh_config_reader;
pub(crate) mod state_dir;
