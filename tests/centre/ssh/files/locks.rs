//! A home on a file system without locks: NFS without its lock daemon, and some FUSE file systems.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::said;
use crate::login::{Workstation, machine};
use crate::ssh::{Operator, shared};

/// Builds a library in which `flock` fails with the error number in `NOLOCK`.
pub(super) fn without_locks(at: &Workstation<'_>) -> PathBuf {
    let (source, library) = (at.home("nolock.c"), at.home("nolock.so"));
    let text = "#include <errno.h>\n#include <stdlib.h>\n\
        int flock(int fd, int what) { (void)fd; (void)what; errno = atoi(getenv(\"NOLOCK\")); return -1; }\n";
    fs::write(&source, text).unwrap();
    let mut compiler = Command::new("cc");
    let made = compiler
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source);
    assert!(made.status().unwrap().success());
    library
}

#[test]
fn a_login_and_its_files_need_no_lock() {
    let Some(centre) = shared() else { return };
    let at = Workstation::new(centre);
    let library = without_locks(&at);
    let [role_id, secret_id] = machine(centre, "files-nolock", 600, 1200);
    let secret = at.home("secret");
    fs::write(&secret, secret_id).unwrap();
    // `ENOSYS` and `EINVAL`. The run with OpenSSH below gets `ENOLCK`.
    for number in ["38", "22"] {
        for args in [
            &["login", "--method", "approle"][..],
            &["agent", "--once"],
            &["token"],
            &["cache", "refresh"],
            &["logout", "--all"],
        ] {
            let mut command = at.command(args);
            command
                .env("LD_PRELOAD", &library)
                .env("NOLOCK", number)
                .env("VCTL_ROLE_ID", &role_id)
                .env("VCTL_SECRET_ID_FILE", &secret);
            let said = said(&mut command);
            assert_eq!(said.code, 0, "{number} {args:?}: {said:?}");
        }
    }
    // Any other error of a lock is a failure.
    let mut command = at.command(&["login", "--method", "approle"]);
    command
        .env("LD_PRELOAD", &library)
        .env("NOLOCK", "5")
        .env("VCTL_ROLE_ID", &role_id);
    let said = said(command.env("VCTL_SECRET_ID_FILE", &secret));
    assert!(
        said.code == 1 && said.stderr.contains("token.lock"),
        "{said:?}"
    );
}

#[test]
fn openssh_finds_its_proxy_without_locks() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "files-nolock");
    operator.knows("nolock-1", centre.host.as_ref().unwrap());
    let library = without_locks(&operator.at);
    let install = operator.at.run(&["ssh-config", "--install"]);
    assert_eq!(install.code, 0, "{install:?}");
    let config = operator.at.home(".ssh/config");
    let known = operator.at.home(".ssh/known_hosts");
    let known = format!("UserKnownHostsFile={}", known.display());
    let config = config.to_str().unwrap();
    let args = ["-F", config, "-o", "BatchMode=yes", "-o", &known];
    let args = [&args, &["nolock-1", "echo in"][..]].concat();
    // Two runs: the second run finds the switchboard of the first run.
    for _ in 0..2 {
        let mut command = operator.at.program("ssh", &args);
        let said = said(command.env("LD_PRELOAD", &library).env("NOLOCK", "37"));
        assert_eq!((said.code, &*said.stdout), (0, "in\n"), "{said:?}");
    }
}

#[test]
fn an_access_of_an_outage_is_handed_in_without_locks() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "files-outbox");
    let host = centre.host.as_ref().unwrap();
    let name = format!("[127.0.0.1]:{}", host.port());
    operator.remembers(&format!("{name} {}\n", host.public_key()));
    let library = without_locks(&operator.at);
    let at = format!("{}@127.0.0.1:{}", host.user(), host.port());
    // The grants that the login cached are those of the database at the usual port.
    let grants = operator.at.home(".vctl/grants.json");
    let usual = centre.postgres.port;
    let away = fs::read_to_string(&grants).unwrap();
    let away = away.replace(&format!(":{usual}/"), ":1/");
    let command = |script: &str, is_away: bool| {
        if is_away {
            fs::write(&grants, &away).unwrap();
        }
        let mut command = operator.at.command(&["ssh", "-q", &at, "--", script]);
        command.env("LD_PRELOAD", &library).env("NOLOCK", "37");
        if is_away {
            // Postgres does not listen at this port.
            command.env("VCTL_DB_PORT", "1");
        }
        command
    };
    let kept = || -> Vec<PathBuf> {
        let entries = fs::read_dir(operator.at.home(".vctl/spool"));
        let entries = entries.into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let handed_in = || {
        let mut rows = operator.accesses(&name);
        rows.retain(|row| row["replayed"] == true);
        rows
    };
    assert_eq!(said(&mut command("exit 3", true)).code, 3);
    assert_eq!(kept().len(), 1);
    let mut going_on = command("echo up; cat", true);
    let mut going_on = going_on
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = [0; 3];
    going_on
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut up)
        .unwrap();
    assert_eq!(kept().len(), 2);
    // They belong to the database at the other port, so they wait for it.
    assert_eq!(said(&mut command("true", false)).code, 0);
    assert_eq!((kept().len(), handed_in().len()), (2, 0));
    for path in kept() {
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace(":1/", &format!(":{usual}/"))).unwrap();
    }
    assert_eq!(said(&mut command("true", false)).code, 0);
    assert_eq!((kept().len(), handed_in().len()), (1, 1));
    assert_eq!(handed_in()[0]["exit_code"], 3);
    // The end of this access will never be written. For seven days, it looks like an access that is still running.
    going_on.kill().unwrap();
    going_on.wait().unwrap();
    assert_eq!(said(&mut command("true", false)).code, 0);
    assert_eq!((kept().len(), handed_in().len()), (1, 1));
    let old = fs::metadata(&kept()[0]).unwrap().modified().unwrap() - Duration::from_hours(8 * 24);
    let file = fs::File::options().append(true).open(&kept()[0]).unwrap();
    file.set_modified(old).unwrap();
    assert_eq!(said(&mut command("true", false)).code, 0);
    assert_eq!((kept().len(), handed_in().len()), (0, 2));
    assert!(handed_in()[1]["closed_at"].is_null());
}
