//! Each check fails if a part of its migration is missing, and only then.

use vctl_tests::centre::{Centre, DATABASE};

use super::spoiled::spoiled;
use super::{LAST, complaint, migrated, migrations, name_of};

#[test]
fn a_check_raises_when_what_its_migration_made_is_gone() {
    let Some(centre) = migrated() else {
        return;
    };
    for (name, change) in spoiled() {
        let said = checked_after(&centre, name, change);
        // A check of an earlier migration may fail too, so the spec runs this check alone.
        assert!(said.contains(&format!("{name}: ")), "{change}: {said}");
    }
    for number in 1..=LAST {
        let name = name_of(number);
        assert_eq!(checked_after(&centre, &name, "select 1"), "", "{name}");
    }
}

/// Runs the check of a migration after `change`, rolls the change back, and returns the error of the check.
fn checked_after(centre: &Centre, name: &str, change: &str) -> String {
    let login = centre.postgres.superuser(DATABASE);
    let mut psql = centre
        .postgres
        .psql_command(login, "verify-full", centre.pki.ca());
    psql.args(["-c", "begin", "-c", change, "-f"])
        .arg(migrations().join(format!("checks/{name}.sql")))
        .args(["-c", "rollback"]);
    let output = psql.output().unwrap();
    complaint(&output)
}
