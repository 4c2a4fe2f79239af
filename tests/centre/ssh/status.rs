//! vctl ends with the status of the remote command, and records the access before that.

use std::io::Write as _;

use super::{Operator, shared};

#[test]
fn the_remote_exit_status_is_ours() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-status");
    operator.knows("status-1", centre.host.as_ref().unwrap());
    for (script, code) in [
        ("true", 0),
        ("exit 1", 1),
        ("exit 2", 2),
        ("exit 77", 77),
        ("exit 255", 255),
        ("kill -KILL $$", 137),
        ("kill -TERM $$", 143),
    ] {
        let said = operator.ssh(&["status-1", "--", script]);
        // A failure of the remote command is not an error of vctl.
        assert_eq!((said.code, &*said.stderr), (code, ""), "{script}");
    }
    let rows = operator.accesses("status-1");
    let codes: Vec<i64> = rows
        .iter()
        .map(|row| row["exit_code"].as_i64().unwrap())
        .collect();
    assert_eq!(codes, [0, 1, 2, 77, 255, 137, 143]);
}

#[test]
fn the_row_is_there_while_the_command_runs_and_closed_after_it() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-row");
    let host = centre.host.as_ref().unwrap();
    operator.knows("row-1", host);
    let mut child = operator.start(&["row-1", "--", "echo ready; cat; exit 3"]);
    let mut line = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    assert_eq!(&line, b"ready\n");
    let rows = operator.accesses("row-1");
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!(row["result"], "open");
    assert_eq!(row["login_user"], host.user());
    assert_eq!(row["source_ip"], "127.0.0.1");
    assert_eq!(row["command"], "echo …");
    // The log of sshd names the accepted certificate.
    let serial = row["cert_serial"].to_string();
    assert!(
        host.log().contains(&format!("(serial {serial})")),
        "{serial}: {}",
        host.log()
    );
    child.stdin.take().unwrap().write_all(b"the end").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"the end");
    assert_eq!(output.status.code(), Some(3));
    let rows = operator.accesses("row-1");
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (&rows[0]["result"], &rows[0]["exit_code"]),
        (&"ok".into(), &3.into())
    );
    assert!(rows[0]["closed_at"].is_string());
}
