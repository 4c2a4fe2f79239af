//! A new user with an empty home at a terminal of 80 columns. The commands may damage the machine.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vctl_tests::centre::Binary;
use vctl_tests::lab::Programs;
use vctl_tests::terminal::Terminal;

/// A time longer than the longest command: `stack up` on a busy machine.
const PATIENCE: Duration = Duration::from_mins(5);
const PROMPT: &str = "] newcomer:vctl$ ";

/// The answers to the questions of commands, each with a part of the last shown line.
const ANSWERS: &[(&str, &str)] = &[("(yes/no/[fingerprint])? ", "yes"), ("[y/N] ", "y")];

pub(super) struct Desk {
    terminal: Terminal,
    work: tempfile::TempDir,
    /// The length of the transcript that belongs to earlier commands.
    read: usize,
    transcript: PathBuf,
    answers: Vec<(String, String)>,
}

impl Desk {
    pub(super) fn sit_down() -> Self {
        let programs = Programs::find().unwrap();
        let bao = Binary::find().unwrap().path;
        let work = tempfile::Builder::new()
            .prefix("vctl-readme-")
            .tempdir()
            .unwrap();
        let mut inside = Command::new("unshare");
        inside
            .args(["--mount", "--net", "--propagation", "private", "sh"])
            .arg(repository().join("tests/centre/readme/inside.sh"))
            .args([work.path(), &programs.directory, &bao])
            .arg(repository());
        let terminal = Terminal::start(inside, 80).unwrap();
        let answers = ANSWERS
            .iter()
            .map(|(question, answer)| ((*question).to_owned(), (*answer).to_owned()));
        let mut desk = Self {
            terminal,
            work,
            read: 0,
            transcript: programs.directory.with_file_name("readme-transcript.txt"),
            answers: answers.collect(),
        };
        desk.await_prompt("the shell");
        desk
    }

    /// Sets the answer to each question with this text from now on.
    pub(super) fn answer(&mut self, question: &str, answer: &str) {
        self.answers.push((question.to_owned(), answer.to_owned()));
    }

    /// Types a line unchanged, answers its questions, and returns its status and its output.
    pub(super) fn run(&mut self, line: &str) -> (i32, String) {
        self.terminal.type_in(&format!("{line}\n")).unwrap();
        self.await_prompt(line)
    }

    /// Types a line with a command that runs until Ctrl-C, and ends it when `is_there` is true.
    pub(super) fn run_until(
        &mut self,
        line: &str,
        mut is_there: impl FnMut(&Self, &str) -> bool,
    ) -> (i32, String) {
        self.terminal.type_in(&format!("{line}\n")).unwrap();
        let since = Instant::now();
        while !is_there(self, &self.fresh()) {
            let goes_on = since.elapsed() < PATIENCE && !self.fresh().ends_with(PROMPT);
            assert!(goes_on, "`{line}`: {}", self.fresh());
            std::thread::sleep(Duration::from_millis(20));
        }
        self.terminal.type_in("\u{3}").unwrap();
        self.await_prompt(line)
    }

    /// Returns the output since the last prompt.
    fn fresh(&self) -> String {
        self.terminal.shown()[self.read..].to_owned()
    }

    fn await_prompt(&mut self, line: &str) -> (i32, String) {
        let since = Instant::now();
        let mut answered = self.read;
        loop {
            let shown = self.terminal.shown();
            if let Some(text) = shown[self.read..].strip_suffix(PROMPT)
                && let Some((text, status)) = text.rsplit_once('[')
            {
                let result = (status.parse().unwrap(), text.to_owned());
                self.read = shown.len();
                return result;
            }
            let question = shown[answered..].lines().last().unwrap_or_default();
            let is_asked = |text: &str| question.ends_with(' ') && question.contains(text);
            let answer = self.answers.iter().find(|(text, _)| is_asked(text));
            if let Some((_, answer)) = answer {
                answered = shown.len();
                self.terminal.type_in(&format!("{answer}\n")).unwrap();
            }
            assert!(
                since.elapsed() < PATIENCE,
                "`{line}` does not end: {}",
                self.fresh()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Runs a script as root on that machine, outside the terminal.
    pub(super) fn as_root(&self, script: &str) -> Output {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.terminal.id()))
            .args(["--mount", "--net", "bash", "-e", "-c", script])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("WORK", self.work.path())
            .env("BIN", self.work.path().join("bin"))
            .stdin(Stdio::null());
        let output = command.output().unwrap();
        let sshd = fs::read_to_string(format!(
            "/proc/{}/root{}/sshd.log",
            self.terminal.id(),
            self.work.path().display()
        ));
        assert!(output.status.success(), "{script}: {output:?}: {sshd:?}");
        output
    }

    /// Writes the output that the user saw, without the bytes that move the cursor.
    fn write_transcript(&self, path: &Path) {
        let shown = self.terminal.shown().replace("\r\n", "\n");
        let mut plain = String::new();
        let mut rest = shown.as_str();
        while let Some((text, escape)) = rest.split_once('\u{1b}') {
            plain.push_str(text);
            let end = escape.find(|c: char| c.is_ascii_alphabetic());
            rest = end.map_or("", |end| &escape[end + 1..]);
        }
        plain.push_str(rest);
        fs::File::create(path)
            .unwrap()
            .write_all(plain.as_bytes())
            .unwrap();
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.write_transcript(&self.transcript);
        // The machine is a namespace, so all processes in it belong to this test.
        let of_shell = fs::read_link(format!("/proc/{}/ns/mnt", self.terminal.id()));
        let own = fs::read_link("/proc/self/ns/mnt");
        let (Ok(namespace), Ok(own)) = (of_shell, own) else {
            return;
        };
        if namespace == own {
            return;
        }
        for _ in 0..100 {
            let pids = processes(&namespace);
            if pids.is_empty() {
                return;
            }
            for pid in pids {
                let _ = kill(pid, Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

pub(super) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Returns the processes of a mount namespace.
fn processes(namespace: &Path) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        fs::read_link(format!("/proc/{pid}/ns/mnt")).is_ok_and(|link| link == namespace)
    })
    .map(Pid::from_raw)
    .collect()
}
