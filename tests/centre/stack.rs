//! `stack up|down|env`, as people run it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vctl_tests::centre::{Binary, missing};
use vctl_tests::lab::{eventually, skip};

use crate::cleanup::left_of;

#[test]
fn up_twice_is_one_stack_and_down_leaves_nothing() {
    let Some(stack) = Stack::of_this_test() else {
        return;
    };
    assert!(said(&stack.run("down")).contains("not up"));
    assert!(said(&stack.run("up")).starts_with("up after"));
    let id = stack.id();
    assert!(said(&stack.run("up")).starts_with("already up"));
    assert_eq!(stack.id(), id);
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
fn what_a_stack_left_that_was_killed_with_its_guard_is_undone_by_the_next_command() {
    for next in ["up --bare", "down"] {
        let Some(stack) = Stack::of_this_test() else {
            return;
        };
        stack.run("up --bare");
        let id = stack.id();
        kill(stack.guard(&id), Signal::SIGKILL).unwrap();
        kill(stack.owner(), Signal::SIGKILL).unwrap();
        assert_ne!(left_of(&id), Vec::<String>::new());
        assert!(
            !stack.run("env").status.success(),
            "a dead stack is no stack"
        );
        assert!(stack.run(next).status.success());
        assert!(nothing_is_left_of(&id), "{next}: {:?}", left_of(&id));
    }
}

/// The program, with a state of its own; taken down at the end, also when the test fails.
struct Stack {
    program: PathBuf,
    state: PathBuf,
    _directory: tempfile::TempDir,
}

impl Stack {
    fn of_this_test() -> Option<Self> {
        if let Some(why) = missing() {
            skip(&why);
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        Some(Self {
            program: Path::new(env!("CARGO_BIN_EXE_stack")).to_owned(),
            state: directory.path().join("state"),
            _directory: directory,
        })
    }

    /// Runs `stack` with these words.
    fn run(&self, task: &str) -> Output {
        let mut command = Command::new(&self.program);
        command.arg("--state").arg(&self.state);
        command.args(task.split(' '));
        command.output().unwrap()
    }

    /// Runs a line in a shell that took in what `env` prints.
    fn shell(&self, line: &str) -> Output {
        let program = self.program.display();
        let state = self.state.display();
        let script = format!("eval \"$({program} --state {state} env)\" && {line}");
        Command::new("sh").args(["-c", &script]).output().unwrap()
    }

    /// The name of its centre.
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

/// Within a moment: the guard and the repair work after those who are asked about have gone.
fn nothing_is_left_of(id: &str) -> bool {
    eventually(Duration::from_secs(20), || Ok(left_of(id).is_empty())).unwrap()
}
