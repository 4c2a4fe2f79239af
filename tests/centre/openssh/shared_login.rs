//! Parallel connections share a database login: Ansible opens 50 at once.

use std::process::{Child, Stdio};

use vctl_tests::centre::DATABASE;
use vctl_tests::lab::eventually;

use super::{Desk, PATIENCE, shared};
use crate::login::Said;

const AT_ONCE: usize = 50;
const NAME: &str = "ossh-crowd";

#[test]
fn fifty_proxies_share_at_most_four_logins() {
    let Some(centre) = shared() else { return };
    let desk = Desk::new(centre, NAME);
    let host = centre.another_host(NAME).unwrap();
    desk.operator.knows("ossh-crowd-1", &host);
    desk.install();
    let before = created();
    let mut children: Vec<Child> = (0..AT_ONCE)
        .map(|_| {
            let mut command = desk.command("ssh", &["ossh-crowd-1", "true"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    let mut most = 0;
    let sql =
        format!("select count(*) from pg_stat_activity where usename like '%/userpass-{NAME}~%'");
    let ended = || {
        let connections: usize = centre.postgres.psql(DATABASE, &sql)?.parse()?;
        most = most.max(connections);
        let ended = |child: &mut Child| child.try_wait().is_ok_and(|status| status.is_some());
        Ok(children.iter_mut().all(ended))
    };
    assert!(eventually(4 * PATIENCE, ended).unwrap());
    for child in children {
        let said: Said = child.wait_with_output().unwrap().into();
        // On a busy machine a proxy may go on with the cached hosts, and says so.
        assert_eq!(said.code, 0, "{said:?}");
    }
    assert!((1..=64).contains(&most), "{most} connections");
    // One row for each, by this person, each with the serial that the host saw.
    desk.recorded("ossh-crowd-1", &host, AT_ONCE);
    let logins = created() - before;
    assert!((1..=4).contains(&logins), "{logins} logins");
}

/// Returns the number of logins that this user has. None of them ends meanwhile.
fn created() -> usize {
    let sql = format!("select count(*) from pg_roles where rolname like '%/userpass-{NAME}~%'");
    let count = shared().unwrap().postgres.psql(DATABASE, &sql).unwrap();
    count.parse().unwrap()
}
