//! A home on a file system without locks: NFS without its lock daemon, and some of FUSE.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::said;
use crate::login::{Workstation, machine};
use crate::ssh::{Operator, shared};

/// Makes a library in which `flock` fails with the number in `NOLOCK`.
fn without_locks(at: &Workstation<'_>) -> PathBuf {
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
    // `ENOSYS` and `EINVAL`; OpenSSH gets `ENOLCK` below.
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
    // Any other failure of a lock is one.
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
    // Twice: the second finds the switchboard of the first.
    for _ in 0..2 {
        let mut command = operator.at.program("ssh", &args);
        let said = said(command.env("LD_PRELOAD", &library).env("NOLOCK", "37"));
        assert_eq!((said.code, &*said.stdout), (0, "in\n"), "{said:?}");
    }
}
