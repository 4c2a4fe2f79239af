//! The token file contains a valid token, or it does not exist.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vctl_tests::centre::{Centre, Options};
use vctl_tests::lab::eventually;

use super::{Workstation, machine, person};

const PATIENCE: Duration = Duration::from_secs(30);

/// A daemon that the spec stops at its end.
struct Agent(Child);

impl Agent {
    fn start(mut command: Command) -> Self {
        Self(command.stderr(Stdio::piped()).spawn().unwrap())
    }

    fn stop(mut self) -> Option<i32> {
        kill(
            Pid::from_raw(i32::try_from(self.0.id()).unwrap()),
            Signal::SIGTERM,
        )
        .unwrap();
        self.0.wait().unwrap().code()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn of_machine(workstation: &Workstation<'_>, ids: &[String; 2], args: &[&str]) -> Command {
    let mut command = workstation.command(&[&["agent"], args].concat());
    command
        .env("VCTL_ROLE_ID", &ids[0])
        .env("VCTL_SECRET_ID", &ids[1]);
    command
}

fn sink(workstation: &Workstation<'_>) -> Option<String> {
    fs::read_to_string(workstation.home(".vctl/token-sink")).ok()
}

#[test]
fn a_sink_holds_a_valid_token_or_does_not_exist() {
    let Some(centre) = Centre::or_skip(&Options::default()) else {
        return;
    };
    let workstation = Workstation::new(&centre);
    let ids = machine(&centre, "agent-outage", 6, 12);
    let agent = Agent::start(of_machine(&workstation, &ids, &[]));
    let good =
        || Ok(sink(&workstation).is_some_and(|token| !workstation.asked_of(&token).is_null()));
    assert!(eventually(PATIENCE, good).unwrap());
    // The agent gets a new token when the first one reaches its maximum lifetime.
    let first = sink(&workstation).unwrap();
    let another = || Ok(sink(&workstation).is_some_and(|token| token != first));
    assert!(eventually(PATIENCE, another).unwrap());

    let gone = || Ok(sink(&workstation).is_none());
    centre.bao.seal().unwrap();
    assert!(
        eventually(PATIENCE, gone).unwrap(),
        "the file still contains an expired token"
    );
    centre.bao.unseal().unwrap();
    assert!(eventually(PATIENCE, good).unwrap());
    centre.bao.kill().unwrap();
    assert!(
        eventually(PATIENCE, gone).unwrap(),
        "the file still contains an expired token"
    );
    centre.bao.start().unwrap();
    assert!(eventually(PATIENCE, good).unwrap());
    // The spec stops the agent with a signal, and the file still contains a valid token.
    assert_eq!(agent.stop(), Some(0));
    assert!(good().unwrap());
}

#[test]
fn logging_out_removes_the_token_from_sinks() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = Workstation::new(centre);
    let password = person(centre, "agent-out", 3600, 7200);
    let args = ["login", "--username", "agent-out", "--password-stdin"];
    assert_eq!(workstation.given(&args, &password).code, 0);
    let mut agent = Agent::start(workstation.command(&["agent"]));
    let there = |token: &str| {
        eventually(
            PATIENCE,
            || Ok(sink(&workstation).as_deref() == Some(token)),
        )
        .unwrap()
    };
    assert!(there(&workstation.token()));
    // The agent writes the token of the new login to the file at once.
    assert_eq!(workstation.given(&args, &password).code, 0);
    assert!(there(&workstation.token()));
    assert_eq!(workstation.run(&["logout"]).code, 0);
    assert!(eventually(PATIENCE, || Ok(sink(&workstation).is_none())).unwrap());
    // The agent cannot log in again without a user, so it ends and does not ask.
    assert_eq!(agent.0.wait().unwrap().code(), Some(77));
}

#[test]
fn a_sink_never_holds_the_token_of_the_environment() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = Workstation::new(centre);
    let ids = machine(centre, "agent-environment", 3600, 7200);
    let mut command = of_machine(&workstation, &ids, &["--once"]);
    let output = command.env("VAULT_TOKEN", "hvs.stale").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(sink(&workstation), Some(workstation.token()));
    assert!(said.contains("`VAULT_TOKEN` is ignored"), "{said}");
}

#[test]
fn a_sink_keeps_its_owner_and_overwrites_nothing_else() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = Workstation::new(centre);
    let ids = machine(centre, "agent-sinks", 3600, 7200);
    let once = |args: &[&str]| {
        let output = of_machine(&workstation, &ids, &[&["--once"], args].concat())
            .output()
            .unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let path = workstation.home("run/app/token");
    let name = path.to_str().unwrap();
    let (code, said) = once(&[
        "--sink", name, "--mode", "0440", "--owner", "nobody", "--group", "nogroup",
    ]);
    assert_eq!(code, 0, "{said}");
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o440);
    assert_eq!((metadata.uid(), metadata.gid()), (65534, 65534));
    let token = fs::read_to_string(&path).unwrap();
    assert_eq!(Some(&token), sink(&workstation).as_ref());
    assert_eq!(token.trim_end(), token);

    let precious = workstation.home("precious");
    fs::write(&precious, "mine").unwrap();
    symlink(&precious, workstation.home("link")).unwrap();
    let (code, said) = once(&[
        "--no-default-sink",
        "--sink",
        workstation.home("link").to_str().unwrap(),
    ]);
    assert_eq!(code, 1);
    assert!(said.contains("not a regular file"), "{said}");
    assert_eq!(fs::read(&precious).unwrap(), b"mine");
    for args in [
        &["--mode", "0644"][..],
        &["--owner", "no-such-user"],
        &["--no-default-sink"],
    ] {
        assert_eq!(once(args).0, 2, "{args:?}");
    }
    let said = Workstation::new(centre).run(&["agent"]);
    assert_eq!(said.code, 77, "{said:?}");
}

#[test]
fn systemd_is_notified_of_readiness_and_liveness() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let workstation = Workstation::new(centre);
    let ids = machine(centre, "agent-systemd", 3600, 7200);
    let socket = workstation.home("notify");
    let listener = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    listener.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = of_machine(&workstation, &ids, &[]);
    command
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "900000");
    let _agent = Agent::start(command);
    let mut heard = String::new();
    while !(heard.contains("READY=1") && heard.matches("WATCHDOG=1").count() > 2) {
        let mut message = [0; 4096];
        let length = listener.recv(&mut message).unwrap();
        heard.push_str(std::str::from_utf8(&message[..length]).unwrap());
        if heard.contains("READY=1") {
            assert!(sink(&workstation).is_some());
        }
    }
}
