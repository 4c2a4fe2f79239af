//! Ends in a given way: `odd-exit WAY [NUMBER]`. `odd-exit matrix ROUNDS WAY...` starts a child for each round
//! of each way and records the status from wait(2).
#![allow(
    unsafe_code,
    reason = "thread exit and signals that no safe wrapper offers"
)]

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::libc;
use vctl_tests::truth::{Truth, start_of, tell};

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let number = || -> Result<i32> { Ok(words.get(1).context("which number?")?.parse()?) };
    match words.first().copied().unwrap_or_default() {
        "matrix" => return matrix(&words[1..]),
        "exit" => exit_this_thread(number()?),
        "exit-group" => end(number()?),
        "signal" => die_of(number()?, false),
        "core" => die_of(number()?, true),
        "leader-first" => leader_first(number()?),
        "thread-exec" => thread_exec(number()?),
        "threads-64" => threads_64(number()?),
        "out-of-memory" => out_of_memory(),
        way => bail!("no way `{way}`"),
    }
    bail!("still alive")
}

fn matrix(words: &[&str]) -> Result<()> {
    let (rounds, ways) = words.split_first().context("how many rounds?")?;
    let program = std::env::current_exe()?;
    for _ in 0..rounds.parse()? {
        for way in ways {
            let mut child = Command::new(&program).args(way.split('=')).spawn()?;
            // The parent has not called wait(2) yet, so the child is still in /proc, if only as a zombie.
            let start = start_of(child.id())?;
            let status = child.wait()?.into_raw();
            tell(&Truth::Ended {
                case: (*way).to_owned(),
                pid: child.id(),
                start,
                status,
            })?;
        }
    }
    Ok(())
}

#[allow(clippy::exit, reason = "the case needs exit_group")]
fn end(code: i32) -> ! {
    std::process::exit(code)
}

/// Calls the kernel's exit(2), which ends one thread. The process ends with its last thread.
fn exit_this_thread(code: i32) {
    // SAFETY: the call takes no pointer, and this thread does not continue after it.
    unsafe { libc::syscall(libc::SYS_exit, code) };
}

fn die_of(signal: i32, core: bool) {
    use nix::sys::resource::{Resource, setrlimit};
    let limit = if core { libc::RLIM_INFINITY } else { 0 };
    let _ = setrlimit(Resource::RLIMIT_CORE, limit, limit);
    // SAFETY: both calls take only numbers. A signal that cannot be reset keeps its action.
    unsafe {
        // Rust's runtime handles SIGSEGV and ignores SIGPIPE.
        libc::signal(signal, libc::SIG_DFL);
        libc::kill(libc::getpid(), signal);
    }
    std::thread::sleep(Duration::from_secs(5));
}

/// The leader ends long before the process.
fn leader_first(code: i32) {
    let leader = format!("/proc/self/task/{}/stat", std::process::id());
    std::thread::spawn(move || {
        while std::fs::read_to_string(&leader).is_ok_and(|stat| !stat.contains(") Z ")) {
            std::thread::sleep(Duration::from_millis(1));
        }
        end(code)
    });
    exit_this_thread(99);
}

/// A thread that is not the leader executes a program. The process ends once.
fn thread_exec(code: i32) {
    let thread = std::thread::spawn(move || {
        let program = std::env::current_exe().unwrap_or_default();
        Command::new(program)
            .args(["exit-group", &code.to_string()])
            .exec()
    });
    let _ = thread.join();
}

fn threads_64(code: i32) {
    let ready = Arc::new(Barrier::new(65));
    for number in 0..64 {
        let ready = Arc::clone(&ready);
        std::thread::spawn(move || {
            ready.wait();
            if number == 37 {
                end(code);
            }
            std::thread::sleep(Duration::from_secs(5));
        });
    }
    ready.wait();
    std::thread::sleep(Duration::from_secs(5));
}

/// Allocates memory until the kernel ends the process at the limit of its cgroup.
fn out_of_memory() {
    let mut held: Vec<Vec<u8>> = Vec::new();
    while held.len() < 1024 {
        held.push(vec![1; 1 << 20]);
    }
}
