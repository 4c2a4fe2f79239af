//! Checks that migrations do not change: `migrations/SHA256SUMS` has the checksum of each one.
//!
//! `vctl migrate` refuses a database whose ledger has another checksum, so a changed file stops every upgrade. The checks
//! in `migrations/checks` may change: they describe the present schema.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::sha256;

const FOLDER: &str = "migrations";
const SUMS: &str = "migrations/SHA256SUMS";

/// Returns a problem for each migration that changed, is gone, or has no checksum.
pub(crate) fn problems(files: &[PathBuf]) -> io::Result<Vec<String>> {
    let sums = fs::read_to_string(SUMS)?;
    let is_migration = |path: &&PathBuf| {
        path.parent() == Some(Path::new(FOLDER)) && path.extension().is_some_and(|sql| sql == "sql")
    };
    let mut now = BTreeMap::new();
    for path in files.iter().filter(is_migration) {
        let name = path.file_name().unwrap_or_default();
        let sum = sha256::of(&fs::read(path)?);
        now.insert(name.to_string_lossy().into_owned(), sum);
    }
    Ok(differences(&sums, &now))
}

/// Compares the file of checksums with the migrations and their checksums.
fn differences(sums: &str, now: &BTreeMap<String, String>) -> Vec<String> {
    let mut landed = BTreeMap::new();
    let mut problems = Vec::new();
    for line in sums.lines() {
        match line.split_once("  ") {
            Some((sum, name)) => drop(landed.insert(name, sum)),
            None => problems.push(format!("{SUMS}: `{line}` is not a line of sha256sum")),
        }
    }
    for (name, sum) in now {
        match landed.remove(&**name) {
            Some(of_landed) if of_landed == sum => {}
            Some(_) => problems.push(format!(
                "{FOLDER}/{name}: a migration that has landed never changes; restore it (`git restore \
                 --source=origin/main {FOLDER}/{name}`) and write a new one. If it has not landed, replace its line in \
                 {SUMS}"
            )),
            None => problems.push(format!(
                "{FOLDER}/{name}: its checksum is not in {SUMS}: `(cd {FOLDER} && sha256sum {name} >> SHA256SUMS)`"
            )),
        }
    }
    problems.extend(landed.into_keys().map(|name| {
        format!(
            "{FOLDER}/{name}: a migration that has landed is gone; restore it: `git restore --source=origin/main \
             {FOLDER}/{name}`"
        )
    }));
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_new_or_removed_migration_is_named() {
        let sums = "aa  0001_a.sql\nbb  0002_b.sql\ncc  0003_c.sql\n";
        let now = [
            ("0001_a.sql", "aa"),
            ("0002_b.sql", "xx"),
            ("0004_d.sql", "dd"),
        ];
        let now = now.map(|(name, sum)| (name.to_owned(), sum.to_owned()));
        let found = differences(sums, &BTreeMap::from(now));
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(
            found[0]
                .starts_with("migrations/0002_b.sql: a migration that has landed never changes")
        );
        assert!(found[1].contains("sha256sum 0004_d.sql >> SHA256SUMS"));
        assert!(found[2].starts_with("migrations/0003_c.sql: a migration that has landed is gone"));
    }
}
