//! Executes a program in a way that shells do not: `odd-exec WAY PROGRAM [ARGUMENT]...`.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;
use nix::unistd::{execve, execveat, fexecve};
use vctl_tests::truth::{CASE, Truth, start_of, tell};

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let way = arguments.next().context("which way?")?;
    let program = arguments.next().context("which program?")?;
    let rest: Vec<OsString> = arguments.collect();
    match way.to_str().unwrap_or_default() {
        "argc-zero" => never(execve::<CString, CString>(
            &c(&program)?,
            &[],
            &environment()?,
        )?),
        "fexecve" => never(fexecve(
            File::open(&program)?,
            &argv(&program, &rest)?,
            &environment()?,
        )?),
        "execveat" => never(in_directory(&program, &rest)?),
        "memfd" => never(from_memory(&program, &rest)?),
        "deleted" => never(after_unlink(&program, &rest)?),
        "thread" => from_thread(program, rest),
        "spawn" => spawn(&program, &rest),
        "deleted-cwd" => in_deleted_directory(&program, &rest),
        "fail" => fail(&program, &rest),
        "too-big" => fail(&program, &[vec![b'x'; 200_000].into_os_string()]),
        other => bail!("no way `{other}`"),
    }
}

trait IntoOsString {
    fn into_os_string(self) -> OsString;
}

impl IntoOsString for Vec<u8> {
    fn into_os_string(self) -> OsString {
        OsString::from_vec(self)
    }
}

fn never(never: Infallible) -> Result<()> {
    match never {}
}

fn in_directory(program: &OsString, rest: &[OsString]) -> Result<Infallible> {
    let path = Path::new(program);
    let directory = path.parent().context("a program in a directory")?;
    let name = path
        .file_name()
        .context("a program in a directory")?
        .to_owned();
    let directory = open(directory, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty())?;
    let argv = argv(program, rest)?;
    Ok(execveat(
        directory,
        &c(&name)?,
        &argv,
        &environment()?,
        AtFlags::empty(),
    )?)
}

fn from_memory(program: &OsString, rest: &[OsString]) -> Result<Infallible> {
    let mut memory = File::from(memfd_create(c"in memory", MFdFlags::MFD_CLOEXEC)?);
    memory.write_all(&fs::read(program)?)?;
    Ok(fexecve(memory, &argv(program, rest)?, &environment()?)?)
}

fn after_unlink(program: &OsString, rest: &[OsString]) -> Result<Infallible> {
    let copy = std::env::temp_dir().join(format!("vctl-deleted-{}", std::process::id()));
    fs::copy(program, &copy)?;
    // Opened by path, not created: a file open for writing cannot be executed.
    let file = File::open(&copy)?;
    fs::remove_file(&copy)?;
    Ok(fexecve(file, &argv(program, rest)?, &environment()?)?)
}

/// Executes from a thread. The kernel gives this thread the pid of the leader.
fn from_thread(program: OsString, rest: Vec<OsString>) -> Result<()> {
    let thread = std::thread::spawn(move || Command::new(program).args(rest).exec());
    match thread.join() {
        Ok(error) => Err(error.into()),
        Err(_) => bail!("the thread panicked"),
    }
}

/// Executes through posix_spawn, which is a vfork.
fn spawn(program: &OsString, rest: &[OsString]) -> Result<()> {
    Command::new(program).args(rest).status()?;
    Ok(())
}

fn in_deleted_directory(program: &OsString, rest: &[OsString]) -> Result<()> {
    let directory = std::env::temp_dir().join(format!("vctl-gone-{}", std::process::id()));
    fs::create_dir(&directory)?;
    std::env::set_current_dir(&directory)?;
    fs::remove_dir(&directory)?;
    Err(Command::new(program).args(rest).exec().into())
}

/// Tries an exec that must fail, and records the error.
fn fail(program: &OsString, rest: &[OsString]) -> Result<()> {
    let argv = argv(program, rest)?;
    let Err(errno) = execve(&c(program)?, &argv, &environment()?);
    tell(&Truth::Failed {
        case: std::env::var(CASE).unwrap_or_default(),
        pid: std::process::id(),
        start: start_of(std::process::id())?,
        filename: program.as_bytes().to_vec(),
        argv: argv.into_iter().map(CString::into_bytes).collect(),
        errno: errno as i32,
    })
}

fn argv(program: &OsString, rest: &[OsString]) -> Result<Vec<CString>> {
    std::iter::once(program).chain(rest).map(c).collect()
}

fn environment() -> Result<Vec<CString>> {
    let pairs = std::env::vars_os().map(|(mut key, value)| {
        key.push("=");
        key.push(value);
        c(&key)
    });
    pairs.collect()
}

fn c(text: &OsString) -> Result<CString> {
    Ok(CString::new(text.as_bytes())?)
}
