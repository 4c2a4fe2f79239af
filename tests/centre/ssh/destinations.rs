//! Destinations and remote commands, with the same syntax as in OpenSSH.

use super::{Operator, shared};

#[test]
fn another_user_and_port_than_the_inventorys() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-other");
    let host = centre.host.as_ref().unwrap();
    let (user, port) = (host.user(), host.port().to_string());
    operator.inventory("other-1", "127.0.0.1", 1, "nobody");
    operator.remembers(&format!("other-1 {}\n", host.public_key()));
    let with_port = format!("{user}@other-1:{port}");
    let with_user = format!("{user}@other-1");
    let uri = format!("ssh://{user}@other-1:{port}");
    for args in [
        &["-l", user, "-p", &port, "other-1", "id", "-un"][..],
        &["other-1", "-l", user, "-p", &port, "id", "-un"],
        &["-p", &port, &with_user, "id", "-un"],
        &["-l", user, "-p", &port, "nobody@other-1:2", "id", "-un"],
        &[&with_port, "--", "id", "-un"],
        &[&uri, "id", "-un"],
        &["-p", &port, "-l", user, "--server", "other-1", "id", "-un"],
    ] {
        let said = operator.ssh(args);
        assert_eq!(
            (said.code, said.stdout.trim_end()),
            (0, user),
            "{args:?} {said:?}"
        );
    }
    let rows = operator.accesses("other-1");
    assert_eq!(rows.len(), 7);
    for row in rows {
        let (login, at) = (&row["login_user"], &row["target_port"]);
        assert_eq!(
            (login.as_str(), at.as_u64()),
            (Some(user), Some(host.port().into()))
        );
    }
}

#[test]
fn everything_after_the_host_is_the_command() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-words");
    operator.knows("command-1", centre.host.as_ref().unwrap());
    for (args, wanted) in [
        (
            &["command-1", "echo", "-L", "x", "--help"][..],
            "-L x --help\n",
        ),
        (&["-T", "command-1", "echo", "a", "--", "-q"], "a -- -q\n"),
        (&["command-1", "-T", "printf", "%s", "-N"], "-N"),
        (&["--server", "command-1", "echo", "-t"], "-t\n"),
        (&["command-1", "echo 'one  word'"], "one  word\n"),
    ] {
        let said = operator.ssh(args);
        assert_eq!((said.code, &*said.stdout), (0, wanted), "{args:?} {said:?}");
    }
}

#[test]
fn an_invalid_destination_is_a_usage_error() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-none");
    for host in [
        "@web-1",
        "root@",
        "root@web-1:",
        "root@web-1:65536",
        "root@10.0.0.1:ssh",
    ] {
        let said = operator.ssh(&[host, "true"]);
        assert_eq!(said.code, 2, "{host} {said:?}");
    }
    let said = operator.ssh(&["-p", "0", "web-1"]);
    assert_eq!(said.code, 2, "{said:?}");
}
