//! `vctl logout` revokes the token also in a home that it cannot write, after Ctrl-C, and beside files of killed commands.

use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use vctl_tests::centre::{Centre, DATABASE, FarServers};
use vctl_tests::lab::{PATIENCE, Programs, eventually};

use super::{Said, Workstation, give, person};
use crate::ssh::shared;

/// A user who is logged in, through delay lines in front of the servers.
struct Far<'a> {
    at: Workstation<'a>,
    servers: FarServers,
    token: String,
}

impl<'a> Far<'a> {
    fn new(centre: &'a Centre, name: &str) -> Self {
        let at = Workstation::new(centre);
        let servers = FarServers::start(centre, Duration::ZERO).unwrap();
        let mut login = at.command(&["login", "--username", name, "--password-stdin"]);
        login.envs(servers.environment());
        let said = give(login, &person(centre, name, 3600, 7200));
        assert_eq!(said.code, 0, "{said:?}");
        let mut list = at.command(&["list"]);
        let said: Said = list.envs(servers.environment()).output().unwrap().into();
        assert_eq!(said.code, 0, "{said:?}");
        let token = stored(&at, "token")["token"].as_str().unwrap().to_owned();
        Self { at, servers, token }
    }

    /// Starts a logout, and returns when the token is no longer on this machine.
    fn logging_out(&self) -> Child {
        let mut command = self.at.command(&["logout"]);
        command.envs(self.servers.environment());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let is_removed = || Ok(!self.at.home(".vctl/token").exists());
        assert!(eventually(PATIENCE, is_removed).unwrap());
        child
    }

    fn is_revoked(&self) -> bool {
        self.at.asked_of(&self.token).is_null()
    }
}

fn stored(at: &Workstation<'_>, file: &str) -> Value {
    let text = fs::read(at.home(".vctl").join(file)).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn interrupt(child: &Child) {
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
}

fn end_of(child: Child) -> Said {
    child.wait_with_output().unwrap().into()
}

#[test]
fn logout_in_a_read_only_home_revokes_the_token() {
    let Some(centre) = shared() else { return };
    let far = Far::new(centre, "logout-read-only");
    let script = "{ mount --bind \"$0\" \"$0\" && mount -o remount,ro,bind \"$0\"; } 2>/dev/null >&2 && exec \"$@\"";
    let mut logout = far.at.program("unshare", &["-m", "sh", "-c", script]);
    logout.arg(far.at.home(".vctl"));
    logout.args([Programs::find().unwrap().vctl.to_str().unwrap(), "logout"]);
    logout.envs(far.servers.environment());
    let said: Said = logout.output().unwrap().into();
    assert_eq!(said.code, 1, "{said:?}");
    let error = "the token was revoked in Vault, but its file stays";
    assert!(said.stderr.contains(error), "{said:?}");
    assert!(said.stderr.contains(".vctl/token"), "{said:?}");
    assert!(!said.stderr.contains("logged out"), "{said:?}");
    assert!(far.is_revoked());
}

#[test]
fn an_interrupted_logout_still_revokes_the_token() {
    let Some(centre) = shared() else { return };
    let far = Far::new(centre, "logout-once");
    far.servers.vault.stall(Duration::from_secs(3));
    let logout = far.logging_out();
    interrupt(&logout);
    let said = end_of(logout);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stderr.contains("logged out"), "{said:?}");
    assert!(far.is_revoked());
}

#[test]
fn an_interrupted_logout_waits_for_no_other_command() {
    let Some(centre) = shared() else { return };
    let far = Far::new(centre, "logout-wait");
    // As held by a command that is stopped while Vault creates its login.
    let other = File::open(far.at.home(".vctl/db-login-lock.vctl-ro.1")).unwrap();
    other.lock().unwrap();
    let mut logout = far.logging_out();
    std::thread::sleep(Duration::from_millis(500));
    assert!(logout.try_wait().unwrap().is_none());
    interrupt(&logout);
    let soon = Duration::from_secs(5);
    let ended = eventually(soon, || Ok(logout.try_wait()?.is_some()));
    assert!(ended.unwrap(), "it still waits");
    let said = end_of(logout);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(far.is_revoked());
}

#[test]
fn a_logout_that_is_interrupted_twice_says_what_is_left() {
    let Some(centre) = shared() else { return };
    let far = Far::new(centre, "logout-twice");
    far.servers.vault.stall(Duration::from_secs(20));
    let mut logout = far.logging_out();
    let ended = eventually(Duration::from_secs(10), || {
        interrupt(&logout);
        Ok(logout.try_wait()?.is_some())
    });
    assert!(ended.unwrap(), "it does not end");
    let said = end_of(logout);
    assert_ne!(said.code, 0, "{said:?}");
    assert!(said.stderr.contains("could not be revoked"), "{said:?}");
    assert!(!far.is_revoked());
}

/// No other command uses such a login, so several commands create theirs at the same time.
#[test]
fn a_logout_waits_for_a_login_with_a_short_lease() {
    let Some(centre) = shared() else { return };
    let name = "logout-short";
    let far = Far::new(centre, name);
    let login = stored(&far.at, "db-login.vctl-ro");
    let [addr, role] = ["vault_addr", "role"].map(|key| login[key].as_str().unwrap());
    let mut known = stored(&far.at, "db-server");
    known["short_lived"] = json!([format!("{addr}  {role}")]);
    fs::write(far.at.home(".vctl/db-server"), known.to_string()).unwrap();
    fs::remove_file(far.at.home(".vctl/db-login.vctl-ro")).unwrap();
    far.servers.take();
    far.servers.vault.stall(Duration::from_secs(6));
    let mut list = far.at.command(&["list"]);
    list.envs(far.servers.environment());
    let list = list.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let is_creating = || Ok(far.servers.vault.take().connections > 0);
    assert!(eventually(PATIENCE, is_creating).unwrap());
    let logout = far.logging_out();
    // Vault must not revoke the token before it has created the login.
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(far.servers.vault.take().connections, 0);
    let said = end_of(logout);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(far.is_revoked());
    end_of(list.unwrap());
    let left = format!("select count(*) from pg_roles where rolname like 'ro/userpass-{name}~%'");
    let left = || Ok(centre.postgres.psql(DATABASE, &left)? == "0");
    assert!(eventually(PATIENCE, left).unwrap());
}

#[test]
fn logout_removes_the_secrets_of_killed_commands() {
    let Some(centre) = shared() else { return };
    for (name, args) in [
        ("logout-killed", &["logout"][..]),
        ("logout-killed-all", &["logout", "--all"]),
    ] {
        let far = Far::new(centre, name);
        let password = stored(&far.at, "db-login.vctl-ro")["password"].clone();
        let secrets = [&*far.token, password.as_str().unwrap()];
        // A process that is killed before it names its new file leaves it so.
        let state = far.at.home(".vctl");
        for file in ["token", "db-login.vctl-ro"] {
            let left = format!(".{file}.0196e1f2a3b47c8d9e0f1a2b3c4d5e6f");
            fs::copy(state.join(file), state.join(left)).unwrap();
        }
        let mut logout = far.at.command(args);
        let said: Said = logout
            .envs(far.servers.environment())
            .output()
            .unwrap()
            .into();
        assert_eq!(said.code, 0, "{said:?}");
        for entry in fs::read_dir(&state).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let has_secret = secrets.iter().any(|secret| text.contains(secret));
            assert!(!has_secret, "{args:?}: {}", path.display());
        }
    }
}
