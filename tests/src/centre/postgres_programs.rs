//! The programs of Postgres that a centre runs: the newest of Debian's packages, or those of a given directory.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::binary::on_path;

/// Variable with the directory of `initdb` and `postgres`. A directory without `psql` is enough, because each
/// version of `psql` talks to each server.
const DIRECTORY: &str = "VCTL_TEST_POSTGRES_BIN";
/// Folders of Debian's packages, one for each version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Server and client. They may be of different versions.
#[derive(Clone, Debug)]
pub struct PostgresPrograms {
    /// Directory with `initdb` and `postgres` of one version.
    pub server: PathBuf,
    pub psql: PathBuf,
}

impl PostgresPrograms {
    /// Returns the programs that the environment chooses.
    ///
    /// # Errors
    /// A program is missing, or accounts other than root cannot run the server.
    pub fn find() -> Result<Self> {
        match std::env::var_os(DIRECTORY).filter(|value| !value.is_empty()) {
            Some(directory) => Self::at(Path::new(&directory)),
            None => Self::of_debian(),
        }
    }

    fn at(directory: &Path) -> Result<Self> {
        // The name in /proc. The cleanup finds the server by this name.
        let server = directory
            .canonicalize()
            .with_context(|| format!("{DIRECTORY} is `{}`", directory.display()))?;
        for program in ["initdb", "postgres"] {
            let found = server.join(program).is_file();
            ensure!(found, "`{}` has no `{program}`", server.display());
        }
        for folder in server.ancestors() {
            let mode = fs::metadata(folder)?.permissions().mode();
            ensure!(
                mode & 0o001 != 0,
                "the account `postgres` cannot enter `{}`, which is part of {DIRECTORY}: use a directory that all \
                 accounts can enter",
                folder.display()
            );
        }
        let beside = server.join("psql");
        let psql = Some(beside).filter(|psql| psql.is_file());
        let psql = psql.or_else(|| on_path("psql"));
        let psql = psql.context("`psql` is not installed (`postgresql-client` on Debian)")?;
        Ok(Self { server, psql })
    }

    fn of_debian() -> Result<Self> {
        let versions = fs::read_dir(DEBIAN).into_iter().flatten();
        let newest = versions
            .filter_map(|entry| {
                let directory = entry.ok()?.path();
                let version: u32 = directory.file_name()?.to_str()?.parse().ok()?;
                let programs = directory.join("bin").canonicalize().ok()?;
                programs
                    .join("initdb")
                    .exists()
                    .then_some((version, programs))
            })
            .max();
        let (_, server) = newest.context("Postgres is not installed (`postgresql` on Debian)")?;
        let psql = server.join("psql");
        Ok(Self { server, psql })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::PostgresPrograms;

    #[test]
    fn a_directory_without_a_server_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let error = PostgresPrograms::at(directory.path()).unwrap_err();
        assert!(error.to_string().contains("has no `initdb`"), "{error}");
    }

    #[test]
    fn a_directory_that_only_root_can_enter_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let programs = directory.path().join("bin");
        fs::create_dir(&programs).unwrap();
        for program in ["initdb", "postgres"] {
            fs::write(programs.join(program), "").unwrap();
        }
        fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).unwrap();
        let error = PostgresPrograms::at(&programs).unwrap_err();
        assert!(error.to_string().contains("cannot enter"), "{error}");
    }
}
