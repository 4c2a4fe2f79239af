//! `stack up|down|env`, as users run it.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vctl_tests::centre::{Binary, missing};
use vctl_tests::lab::{Programs, eventually, skip};

use crate::setup::cleanup::left_of;

#[test]
fn up_twice_is_one_stack_and_down_leaves_nothing() {
    let Some(stack) = Stack::of_this_test() else {
        return;
    };
    assert!(said(&stack.run("down")).contains("not up"));
    let up = stack.run("up");
    assert!(said(&up).starts_with("up after"));
    steps_are_reported(&String::from_utf8_lossy(&up.stderr));
    let id = stack.id();
    let again = said(&stack.run("up"));
    assert!(again.starts_with("already up"));
    assert_eq!(stack.id(), id);
    the_printed_commands_work(&stack, &again);
    let client = Binary::find().unwrap().path;
    let line = format!(
        "{} token lookup && echo \"$VCTL_DB_NAME\"",
        client.display()
    );
    let asked = stack.shell(&line);
    assert!(said(&asked).ends_with("vctl\n"), "{asked:?}");
    assert!(said(&stack.run("down")).starts_with("down"));
    assert!(!stack.state.exists());
    assert!(nothing_is_left_of(&id), "{:?}", left_of(&id));
    assert!(!stack.run("env").status.success());
}

/// Expects that servers, setup.sh, schema and hosts each report their start.
fn steps_are_reported(progress: &str) {
    for step in [
        "starting OpenBao",
        "vault: database/roles",
        "vault: policy",
        "applying the migrations",
        "adding two hosts",
    ] {
        assert!(progress.contains(&format!(" s  {step}")), "{progress}");
    }
    assert!(!progress.contains("next:"), "{progress}");
}

/// Runs the printed commands with an unprivileged account, an empty home and a new shell.
fn the_printed_commands_work(stack: &Stack, printed: &str) {
    let mut lines = printed.lines();
    lines.find(|line| line.starts_with("try it")).unwrap();
    let steps: Vec<_> = lines.by_ref().take(3).collect();
    assert_eq!(steps[2], "  vctl ssh web-1");
    let home = stack.directory.path().join("home");
    let asked = in_a_new_shell(&home, &format!("{}\n", steps.join("\n")), "id -un\n");
    assert!(asked.status.success(), "{asked:?}");
    assert!(said(&asked).contains("-u\n"), "{asked:?}");
    // The second host, and a user with the right to read the records.
    let others = format!(
        "{}\nvctl ssh web-2 true </dev/null\n{}\nvctl audit -o csv\n",
        [steps[0], steps[1]].join("\n"),
        steps[1]
            .replace("alice", "bob")
            .replace(&password(printed, "alice"), &password(printed, "bob")),
    );
    let asked = in_a_new_shell(&home, &others, "");
    let audit = said(&asked);
    assert!(
        audit.contains(",web-1,") && audit.contains(",web-2,"),
        "{asked:?}"
    );
    // The administrator's line contains the path of the state, because it is not the default path.
    let line = printed.lines().find(|line| line.contains("eval ")).unwrap();
    let script = format!("{line}\n[ -n \"$VAULT_TOKEN\" ]\n");
    let asked = Command::new("bash")
        .args(["-e", "-c", &script])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/")
        .output()
        .unwrap();
    assert!(asked.status.success(), "{asked:?}");
    let down = printed.lines().last().unwrap();
    assert!(
        down.ends_with(&format!("--state {} down", stack.state.display())),
        "{down}"
    );
}

fn password(printed: &str, person: &str) -> String {
    let mark = format!("person: {person}, password ");
    let (_, rest) = printed.split_once(&mark).unwrap();
    rest.lines().next().unwrap().to_owned()
}

/// Runs a script as `nobody`. `typed` is the input of its last command.
fn in_a_new_shell(home: &Path, script: &str, typed: &str) -> Output {
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let _ = fs::remove_dir_all(home);
    fs::create_dir(home).unwrap();
    std::os::unix::fs::chown(home, Some(nobody.uid.as_raw()), Some(nobody.gid.as_raw())).unwrap();
    let mut shell = Command::new("bash")
        .args(["-e", "-c", script])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", home)
        .current_dir(home)
        .uid(nobody.uid.as_raw())
        .gid(nobody.gid.as_raw())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = shell.stdin.take().unwrap();
    input.write_all(typed.as_bytes()).unwrap();
    drop(input);
    shell.wait_with_output().unwrap()
}

#[test]
fn a_killed_owner_leaves_nothing() {
    let Some(stack) = Stack::of_this_test() else {
        return;
    };
    stack.run("up --bare");
    let id = stack.id();
    kill(stack.owner(), Signal::SIGKILL).unwrap();
    assert!(nothing_is_left_of(&id), "{:?}", left_of(&id));
    assert!(!stack.state.exists());
}

#[test]
fn the_next_command_cleans_up_after_a_killed_stack() {
    for next in ["up --bare", "down"] {
        let Some(stack) = Stack::of_this_test() else {
            return;
        };
        stack.run("up --bare");
        let id = stack.id();
        kill(stack.guard(&id), Signal::SIGKILL).unwrap();
        kill(stack.owner(), Signal::SIGKILL).unwrap();
        assert_ne!(left_of(&id), Vec::<String>::new());
        // A killed process needs a moment to end.
        let is_none = eventually(Duration::from_secs(10), || {
            Ok(!stack.run("env").status.success())
        });
        assert!(is_none.unwrap(), "`env` accepts a dead stack");
        let output = stack.run(next);
        assert!(output.status.success(), "{next}: {output:?}");
        assert!(nothing_is_left_of(&id), "{next}: {:?}", left_of(&id));
    }
}

#[test]
fn a_start_waits_for_the_repair_of_another_process() {
    let (Some(stack), Some(other)) = (Stack::of_this_test(), Stack::of_this_test()) else {
        return;
    };
    stack.run("up --bare");
    let id = stack.id();
    kill(stack.guard(&id), Signal::SIGKILL).unwrap();
    kill(stack.owner(), Signal::SIGKILL).unwrap();
    // The repair needs the lock of the account files. So it goes on when this test says so.
    let accounts = File::create("/run/vctl-lab.lock").unwrap();
    accounts.lock().unwrap();
    let waiting = format!(":{} 0 EOF", accounts.metadata().unwrap().ino());
    thread::scope(|scope| {
        let repair = scope.spawn(|| other.run("down"));
        let is_at_the_accounts = eventually(Duration::from_secs(10), || {
            let locks = fs::read_to_string("/proc/locks")?;
            let mut waiters = locks.lines().filter(|line| line.contains("-> FLOCK"));
            Ok(waiters.any(|line| line.ends_with(&waiting)))
        });
        assert!(is_at_the_accounts.unwrap());
        let up = scope.spawn(|| stack.run("up --bare"));
        thread::sleep(Duration::from_secs(1));
        drop(accounts);
        assert!(repair.join().unwrap().status.success());
        let up = up.join().unwrap();
        assert!(up.status.success(), "{up:?}");
    });
    assert!(nothing_is_left_of(&id), "{:?}", left_of(&id));
}

/// The program with its own state. Drop takes the stack down, also if the test fails.
struct Stack {
    program: PathBuf,
    state: PathBuf,
    directory: tempfile::TempDir,
}

impl Stack {
    fn of_this_test() -> Option<Self> {
        if let Some(why) = missing() {
            skip(&why);
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let bin = directory.path().join("bin");
        for path in [directory.path(), &bin] {
            fs::create_dir_all(path).unwrap();
            fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        }
        // Other accounts may not be able to read the directory of the clone.
        let built = Programs::find().unwrap();
        for program in ["stack", "vctl", "vctl-agent"] {
            fs::copy(built.directory.join(program), bin.join(program)).unwrap();
        }
        Some(Self {
            program: bin.join("stack"),
            state: directory.path().join("state"),
            directory,
        })
    }

    /// Runs `stack` with these words.
    fn run(&self, task: &str) -> Output {
        let mut command = Command::new(&self.program);
        command.arg("--state").arg(&self.state);
        command.args(task.split(' '));
        command.output().unwrap()
    }

    /// Runs a line in a shell with the variables that `env` prints.
    fn shell(&self, line: &str) -> Output {
        let program = self.program.display();
        let state = self.state.display();
        let script = format!("eval \"$({program} --state {state} env)\" && {line}");
        Command::new("sh").args(["-c", &script]).output().unwrap()
    }

    /// Returns the id of the centre.
    fn id(&self) -> String {
        let output = said(&self.run("env"));
        let path = output.split("/run/").nth(1).unwrap();
        path.split('/').next().unwrap().to_owned()
    }

    fn owner(&self) -> Pid {
        let state = fs::read(self.state.join("state.json")).unwrap();
        let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
        Pid::from_raw(state["pid"].as_i64().unwrap().try_into().unwrap())
    }

    fn guard(&self, id: &str) -> Pid {
        let journal = format!("/var/lib/vctl-lab/{id}.journal");
        let found = vctl_tests::lab::process::running(&self.program, Path::new(&journal));
        found.unwrap()[0]
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.run("down");
    }
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Returns whether the centre is gone. Waits, because the guard and the repair work a moment longer than the processes
/// in question.
fn nothing_is_left_of(id: &str) -> bool {
    eventually(Duration::from_secs(20), || Ok(left_of(id).is_empty())).unwrap()
}
