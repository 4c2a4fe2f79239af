//! The schema of the central store, as this version of vctl needs it.

pub(crate) mod apply;
pub(crate) mod ca;
pub(crate) mod ledger;
pub(crate) mod text;

use sha2::{Digest as _, Sha256};
use vctl_common::hex;

/// One file of `migrations/`, and the check that raises an error if its effect is missing.
#[derive(Debug)]
pub(crate) struct Migration {
    /// File name without `.sql`; starts with the version in four digits.
    pub(crate) name: &'static str,
    pub(crate) sql: &'static str,
    pub(crate) check: &'static str,
}

macro_rules! migrations {
    ($($name:literal),+ $(,)?) => {
        &[$(Migration {
            name: $name,
            sql: include_str!(concat!("../../../migrations/", $name, ".sql")),
            check: include_str!(concat!("../../../migrations/checks/", $name, ".sql")),
        }),+]
    };
}

/// All migrations, in order.
pub(crate) const ALL: &[Migration] = migrations![
    "0001_inventory",
    "0002_identity",
    "0003_access_log",
    "0004_sessions",
    "0005_ingest",
    "0006_retention",
    "0007_compat",
    "0008_enrolled",
    "0009_ingest_lookups",
    "0010_attempts",
    "0011_ssh_trust",
    "0012_limits",
    "0013_ingest_limits",
    "0014_floor",
    "0015_login_contradictions",
    "0016_login_work",
    "0017_host_clock",
    "0018_unreadable_certificates",
    "0019_arrivals",
    "0020_last_probed",
    "0021_rbac",
    "0022_session_requests",
    "0023_revocations",
    "0024_host_rename",
    "0025_export_order",
    "0026_revoke_role",
    "0027_former_names_kept",
    "0028_stream_ingest",
    "0029_stream_blocked",
    "0030_stream_names",
    "0031_stream_stored_at",
    "0032_recorded_again",
];

impl Migration {
    pub(crate) fn version(&self) -> i32 {
        // A test checks that each name starts with a number.
        self.name[..4].parse().unwrap_or_default()
    }

    /// Returns the checksum of the file, in hexadecimal.
    pub(crate) fn sha256(&self) -> String {
        hex::encode(&Sha256::digest(self.sql))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    fn names(directory: &str) -> BTreeSet<String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .join(directory);
        let files = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let sql = files.filter(|path| path.extension().is_some_and(|e| e == "sql"));
        sql.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn every_file_is_applied_and_has_a_check() {
        let listed: BTreeSet<String> = ALL.iter().map(|m| m.name.to_owned()).collect();
        assert_eq!(names("migrations"), listed);
        assert_eq!(names("migrations/checks"), listed);
    }

    #[test]
    fn versions_count_from_one_without_gaps() {
        for (index, migration) in ALL.iter().enumerate() {
            let version = format!("{:04}_", index + 1);
            assert!(migration.name.starts_with(&version), "{}", migration.name);
        }
    }

    #[test]
    fn every_migration_starts_with_its_reason() {
        for migration in ALL {
            assert!(migration.sql.starts_with("-- "), "{}", migration.name);
            assert!(migration.check.contains(&format!("'{}: ", migration.name)));
        }
    }

    #[test]
    fn checksum_equals_that_of_sha256sum() {
        let empty = Migration {
            name: "0001_empty",
            sql: "",
            check: "",
        };
        assert_eq!(
            empty.sha256(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
