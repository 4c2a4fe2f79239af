//! OpenSSH through vctl if the home cannot hold a socket: a read-only home, or a home with a long path.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::time::Duration;

use vctl_tests::lab::eventually;

use super::{ALICE, said};
use crate::login::{Said, Workstation};
use crate::ssh::{Operator, shared};

/// Runs a shell script in a mount namespace with a read-only home.
fn sealed(at: &Workstation<'_>, script: &str, variables: &[(&str, &Path)]) -> Said {
    let seal = format!(
        "mount --bind \"$HOME\" \"$HOME\" && mount -o remount,ro,bind \"$HOME\" && cd / && {{ {script}; }}"
    );
    let args = ["--mount", "--propagation", "private", "sh", "-c", &seal];
    let mut command = at.program("unshare", &args);
    for (name, value) in variables {
        command.env(name, value);
    }
    said(&mut command)
}

/// Prints the lines for `ssh` into a file, and logs in with them.
fn through_ssh(at: &Workstation<'_>, host: &str, scratch: &Path) -> String {
    let vctl = at.command(&[]);
    let vctl = vctl.get_program().to_str().unwrap();
    let (config, known) = (scratch.join("config"), at.home(".ssh/known_hosts"));
    format!(
        "'{vctl}' ssh-config > '{config}' && \
         ssh -F '{config}' -o BatchMode=yes -o UserKnownHostsFile='{known}' {host} 'echo in'",
        config = config.display(),
        known = known.display(),
    )
}

#[test]
fn openssh_logs_in_with_a_read_only_home() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "files-sealed");
    operator.knows("sealed-1", centre.host.as_ref().unwrap());
    let scratch = tempfile::tempdir().unwrap();
    let script = through_ssh(&operator.at, "sealed-1", scratch.path());
    for (variable, name) in [("XDG_RUNTIME_DIR", "vctl"), ("TMPDIR", "vctl-0")] {
        let said = sealed(&operator.at, &script, &[(variable, scratch.path())]);
        assert_eq!((said.code, &*said.stdout), (0, "in\n"), "{said:?}");
        let place = scratch.path().join(name);
        let mode = fs::metadata(&place).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o700, "{}", place.display());
        assert!(place.join("agent.sock").exists());
        assert!(!operator.at.home(".vctl/ssh").exists());
    }
}

#[test]
fn a_home_with_a_long_path_gets_its_sockets_elsewhere() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "files-long");
    operator.knows("deep-1", centre.host.as_ref().unwrap());
    let long = operator.at.home(&"x".repeat(90));
    fs::create_dir(&long).unwrap();
    for name in [".vctl", ".ssh"] {
        fs::rename(operator.at.home(name), long.join(name)).unwrap();
        symlink(long.join(name), operator.at.home(name)).unwrap();
    }
    let scratch = tempfile::tempdir().unwrap();
    let script = through_ssh(&operator.at, "deep-1", scratch.path());
    let mut command = operator.at.program("sh", &["-c", &script]);
    command
        .env("HOME", &long)
        .env("XDG_RUNTIME_DIR", scratch.path());
    let said = said(&mut command);
    assert_eq!((said.code, &*said.stdout), (0, "in\n"), "{said:?}");
    assert!(scratch.path().join("vctl/agent.sock").exists());
}

/// Prepares the socket directory as another user could have done.
type Squat<'a> = &'a dyn Fn(&Path);

#[test]
fn a_directory_that_others_can_change_gets_no_socket() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "files-squatted");
    operator.knows("squatted-1", centre.host.as_ref().unwrap());
    let port = centre.host.as_ref().unwrap().port();
    let vctl = operator.at.command(&[]);
    let vctl = vctl.get_program().to_str().unwrap();
    let script = format!("'{vctl}' proxy squatted-1 {port} >/dev/null");
    let of_mode =
        |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let squat: [(&str, Squat<'_>); 4] = [
        ("a link", &|place| symlink("/root", place).unwrap()),
        ("a file", &|place| fs::write(place, "").unwrap()),
        ("of another user", &|place| {
            fs::create_dir(place).unwrap();
            chown(place, Some(ALICE), None).unwrap();
        }),
        ("in a directory of everyone", &|place| {
            of_mode(place.parent().unwrap(), 0o777);
        }),
    ];
    for (what, squat) in squat {
        let scratch = tempfile::tempdir().unwrap();
        squat(&scratch.path().join("vctl-0"));
        let said = sealed(&operator.at, &script, &[("TMPDIR", scratch.path())]);
        assert_eq!(said.code, 1, "{what}: {said:?}");
        assert!(
            said.stderr.contains("cannot serve as an agent for `ssh`"),
            "{what}: {said:?}"
        );
    }
    // The temporary directory of a machine has this mode.
    let scratch = tempfile::tempdir().unwrap();
    of_mode(scratch.path(), 0o1777);
    let said = sealed(&operator.at, &script, &[("TMPDIR", scratch.path())]);
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn the_agent_socket_without_locks_ends_after_its_time() {
    let Some(centre) = shared() else { return };
    let at = Workstation::new(centre);
    let library = super::locks::without_locks(&at);
    fs::create_dir_all(at.home(".vctl")).unwrap();
    let start = |linger: &str| {
        let args = ["ssh-agent", "--look-ms", "20", "--linger-ms", linger];
        let mut command = at.command(&args);
        command.env("LD_PRELOAD", &library).env("NOLOCK", "37");
        command.spawn().unwrap()
    };
    let socket = at.home(".vctl/ssh/agent.sock");
    let mut long = start("600000");
    let is_there = || Ok(socket.exists());
    assert!(eventually(Duration::from_secs(30), is_there).unwrap());
    std::thread::sleep(Duration::from_millis(200));
    assert!(
        long.try_wait().unwrap().is_none(),
        "the process ended too early"
    );
    long.kill().unwrap();
    long.wait().unwrap();
    let mut short = start("300");
    assert!(short.wait().unwrap().success());
    assert!(!socket.exists());
}

#[test]
fn the_agent_socket_ends_once_no_proxy_is_there() {
    let Some(centre) = shared() else { return };
    let at = Workstation::new(centre);
    fs::create_dir_all(at.home(".vctl")).unwrap();
    let lock = at.home(".vctl/ssh/proxies.lock");
    fs::create_dir_all(lock.parent().unwrap()).unwrap();
    let held = fs::File::create(&lock).unwrap();
    held.lock_shared().unwrap();
    let mut agent = at
        .command(&["ssh-agent", "--look-ms", "20"])
        .spawn()
        .unwrap();
    let socket = at.home(".vctl/ssh/agent.sock");
    let is_there = || Ok(socket.exists());
    assert!(eventually(Duration::from_secs(30), is_there).unwrap());
    std::thread::sleep(Duration::from_millis(200));
    assert!(
        agent.try_wait().unwrap().is_none(),
        "the agent ended while a proxy still runs"
    );
    drop(held);
    assert!(agent.wait().unwrap().success());
    assert!(!socket.exists());
}
