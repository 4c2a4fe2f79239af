//! `guest-failed-exec`: failed execs in a small guest, recorded at the exit of exec and at the end of system calls.
//!
//! Both records have to be equal. Then the agent is replaced while a session of an earlier version is open.
#![allow(clippy::print_stdout, reason = "its stdout is the result")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};
use vctl_agent::probe::maps::{Maps, PinnedState};
use vctl_common::event::EventKind;
use vctl_common::spool::Filter;
use vctl_common::status::{self, FailedExecs};
use vctl_common::wire;
use vctl_tests::lab::{PATIENCE, Recorded, eventually, read};
use vctl_tests::load::guest::{PINS, await_failed_execs, log_in, start_agent};
use vctl_tests::truth::FILE;

const SPOOL: &str = "/var/lib/vctl/spool";
const RUN: &str = "/run/vctl";
const TRUTH: &str = "/tmp/failed-truth";
/// With 0 the kernel runs no probes on functions. It still attaches them.
const FTRACE: &str = "/proc/sys/kernel/ftrace_enabled";
/// Whether the kernel preempts itself; a write changes it.
const SCHEDULER: &str = "/sys/kernel/debug/sched/preempt";

/// Each line fails to execute a program, in another way. The last ones use the table of 32-bit system calls.
const WORK: &str = r"
mkdir -p /tmp/work; cd /tmp/work
touch plain; chmod 644 plain
printf '\001\002 no format\n' > no-format; chmod 755 no-format
printf '#!/does/not/exist\n' > no-interpreter; chmod 755 no-interpreter
ln -sf loop loop
odd-exec fail /no/such/program an-argument ''
odd-exec fail /bin/busybox/x a
odd-exec fail ./plain a
odd-exec fail /tmp a
odd-exec fail ./loop a
odd-exec fail ./no-interpreter a
odd-exec fail ./no-format a
odd-exec fail ./$(printf %0300d 1) a
odd-exec fail '' ''
odd-exec fail /no/such/many $(seq 100)
odd-exec fail /no/such/long $(printf %03000d 1) $(printf %01023d 1) end
odd-exec fail /no/such/whole $(for i in $(seq 40); do printf '%0900d ' $i; done)
odd-exec too-big /bin/exec-target
odd-exec execveat /tmp/work/nothing at '' || true
odd-exec thread /no/such/thread a 2>/dev/null || true
/no/such/by-shell a 2>/dev/null || true
for width in m32 m64; do
  [ -e /bin/compat-$width ] || continue
  compat-$width e /no/such/one an-argument '' || true
  compat-$width a /no/such/at one two || true
  compat-$width e ./plain denied || true
  compat-$width ef /no/such/fault || true
  compat-$width a /no/such/many $(seq 100) || true
done
true
";

/// Fails once before and once after a change of the agent.
const AROUND_A_CHANGE: &str = "
odd-exec fail /no/such/before a
touch /tmp/inside; while [ ! -e /tmp/go ]; do sleep 0.2; done
odd-exec fail /no/such/after a
";

/// Fails in four processes at a time until the agent uses other probes.
const MANY: &str = "
for i in 1 2 3 4; do
  ( n=0; while [ ! -e /tmp/go ] && [ $n -lt 20000 ]; do /no/such/many 2>/dev/null; n=$((n + 1)); done ) &
done
wait
";

/// Fails 2,000 times, in four processes at a time.
const COUNTED: &str = "
for i in 1 2 3 4; do
  ( n=0; while [ $n -lt 500 ]; do /no/such/counted 2>/dev/null; n=$((n + 1)); done ) &
done
wait
";
const COUNT: usize = 2_000;

/// What a login runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Script {
    EachWay,
    AroundAChange,
    Many,
    Counted,
}

impl Script {
    fn text(self) -> &'static str {
        match self {
            Self::EachWay => WORK,
            Self::AroundAChange => AROUND_A_CHANGE,
            Self::Many => MANY,
            Self::Counted => COUNTED,
        }
    }
}

/// Compare the records of both kinds of probes for failed execs
#[derive(Debug, Parser)]
struct Options {
    /// Serial of the certificate; this process becomes its login
    #[arg(long, hide = true)]
    login: Option<u64>,
    #[arg(long, hide = true, value_enum, default_value = "each-way")]
    script: Script,
    /// On a kernel that is preemptible from boot: each failed exec of two logins under load is recorded or counted as skipped
    #[arg(long)]
    preemptible: bool,
    /// Make the kernel preemptible while the agent runs, and look at the records after the first skipped probe
    #[arg(long)]
    preempted_later: bool,
}

/// What a record says about the call, without what differs between two runs.
type Attempt = (
    u32,
    Vec<u8>,
    Vec<Vec<u8>>,
    (u32, u32, bool, bool),
    Vec<u8>,
    bool,
);

fn main() -> Result<()> {
    let options = Options::parse();
    if let Some(serial) = options.login {
        return log_in(serial, options.script.text());
    }
    fs::write(TRUTH, "")?;
    if options.preemptible {
        return preemptible();
    }
    if options.preempted_later {
        return preempted_later();
    }
    let agent = start(FailedExecs::ExecExit)?;
    let by_exit = of_login(12)?;
    end(agent)?;
    detach()?;
    fs::write(FTRACE, "0")?;
    let agent = start(FailedExecs::SystemCallExit)?;
    let by_call = of_login(13)?;
    ensure!(
        by_exit == by_call,
        "at the exit of exec: {by_exit:#?}\nat the end of system calls: {by_call:#?}"
    );
    println!(
        "@@failed execs: both probes wrote {} equal records",
        by_exit.len()
    );
    replace(agent)
}

/// Expects that no probe is at the exit of exec, and that each failed exec is recorded or counted as skipped.
fn preemptible() -> Result<()> {
    let agent = start(FailedExecs::SystemCallExit)?;
    // The status says so also before the agent has attached either kind.
    let exit = Path::new(PINS).join("link___x64_sys_execve");
    ensure!(!exit.exists(), "a probe at the exit of exec is attached");
    let serials = [21, 22];
    let logins: Result<Vec<_>> = serials
        .into_iter()
        .map(|serial| start_login(serial, Script::Counted))
        .collect();
    for mut login in logins? {
        ensure!(login.wait()?.success(), "a login failed");
    }
    let mut found = 0;
    for serial in serials {
        let attempts = closed(serial)?;
        let attempts = attempts
            .iter()
            .filter(|attempt| attempt.1 == b"/no/such/counted");
        found += attempts.count();
    }
    let made = serials.len() * COUNT;
    let skipped = status::read(Path::new(RUN))?.probe_skipped;
    let skipped = skipped.context("the status has no count")?.0;
    let accounted = found + usize::try_from(skipped)?;
    ensure!(
        found <= made && accounted >= made,
        "{found} of {made} failed execs, {skipped} probes skipped"
    );
    println!("@@recorded {found}, skipped {skipped}");
    println!(
        "@@preemptible: {made} failed execs of two logins, each recorded or counted as skipped"
    );
    end(agent)
}

/// Expects that probes at the exit of exec are left where the kernel becomes preemptible: by the next agent once no
/// session is open, and by the same agent once the kernel has skipped one.
fn preempted_later() -> Result<()> {
    let agent = start(FailedExecs::ExecExit)?;
    let (around, agent) = around_a_change(23, agent, FailedExecs::ExecExit, || {
        Ok(fs::write(SCHEDULER, "full")?)
    })?;
    await_probes(FailedExecs::SystemCallExit)?;
    let after = of_login(24)?;
    println!(
        "@@replaced: {} failed execs before and after, none missing and none twice",
        around + names(&after).len()
    );
    end(agent)?;
    detach()?;
    fs::write(SCHEDULER, "voluntary")?;
    let agent = start(FailedExecs::ExecExit)?;
    fs::write(SCHEDULER, "full")?;
    let _ = fs::remove_file("/tmp/go");
    let mut login = start_login(21, Script::Many)?;
    let changed = await_probes(FailedExecs::SystemCallExit);
    fs::write("/tmp/go", "")?;
    ensure!(login.wait()?.success(), "the login failed");
    changed?;
    let after = of_login(22)?;
    println!("@@preempted: {} failed execs after the change", after.len());
    end(agent)
}

/// Replaces an agent that watches system calls, as agents before version 4 do, while its session is open.
fn replace(agent: Child) -> Result<()> {
    let (around, agent) = around_a_change(14, agent, FailedExecs::SystemCallExit, || {
        let mut maps = Maps::pinned(Path::new(PINS))?;
        let state = PinnedState {
            version: u64::from(wire::OLDEST_VERSION),
            ..maps.state()
        };
        maps.set_state(state)?;
        Ok(fs::write(FTRACE, "1")?)
    })?;
    await_probes(FailedExecs::ExecExit)?;
    let left = fs::read_dir(PINS)?.flatten().map(|entry| entry.file_name());
    let left: Vec<_> = left
        .filter(|name| name.to_string_lossy().starts_with("link_sys_exit"))
        .collect();
    ensure!(left.is_empty(), "both kinds are attached: {left:?}");
    let after = of_login(15)?;
    println!(
        "@@replaced: {} failed execs before and after, none missing and none twice",
        around + names(&after).len()
    );
    end(agent)
}

/// Ends the agent and starts the next one while a session is open, which fails to execute a program before and after.
/// The next agent has to keep the probes while the session is open. Returns the number of failed execs.
fn around_a_change(
    serial: u64,
    agent: Child,
    kept: FailedExecs,
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<(usize, Child)> {
    let _ = fs::remove_file("/tmp/go");
    let _ = fs::remove_file("/tmp/inside");
    let mut login = start_login(serial, Script::AroundAChange)?;
    ensure!(
        eventually(PATIENCE, || Ok(Path::new("/tmp/inside").exists()))?,
        "no login"
    );
    end(agent)?;
    meanwhile()?;
    let agent = start(kept)?;
    fs::write("/tmp/go", "")?;
    ensure!(login.wait()?.success(), "the login failed");
    let around = closed(serial)?;
    let around = names(&around);
    ensure!(
        around == ["/no/such/before", "/no/such/after"],
        "recorded {around:?}"
    );
    Ok((around.len(), agent))
}

fn names(attempts: &[Attempt]) -> Vec<String> {
    let names = attempts
        .iter()
        .map(|attempt| String::from_utf8_lossy(&attempt.1).into_owned());
    names.filter(|name| name.starts_with("/no/such/")).collect()
}

fn start(expected: FailedExecs) -> Result<Child> {
    let agent = start_agent()?;
    await_failed_execs(Path::new(PINS))?;
    await_probes(expected)?;
    Ok(agent)
}

/// Waits until the agent reports that it uses these probes.
fn await_probes(expected: FailedExecs) -> Result<()> {
    let mut last = None;
    let found = eventually(PATIENCE, || {
        last = status::read(Path::new(RUN))
            .ok()
            .map(|status| status.failed_execs);
        Ok(last == Some(expected))
    })?;
    ensure!(
        found,
        "failed execs are watched by {last:?}, not by {expected:?}"
    );
    Ok(())
}

fn end(mut agent: Child) -> Result<()> {
    agent.kill()?;
    agent.wait()?;
    let _ = fs::remove_file(Path::new(RUN).join(status::FILE));
    let _ = fs::remove_file("/tmp/ready");
    Ok(())
}

fn detach() -> Result<()> {
    let status = Command::new("vctl-agent").arg("detach").status()?;
    ensure!(status.success(), "the detach ended with {status}");
    Ok(())
}

fn of_login(serial: u64) -> Result<Vec<Attempt>> {
    let status = start_login(serial, Script::EachWay)?.wait()?;
    ensure!(status.success(), "a login ended with {status}");
    closed(serial)
}

fn start_login(serial: u64, script: Script) -> Result<Child> {
    let login = Command::new(std::env::current_exe()?)
        .args(["--login", &serial.to_string()])
        .arg("--script")
        .arg(
            script
                .to_possible_value()
                .context("a script has a name")?
                .get_name(),
        )
        .env(FILE, TRUTH)
        .stdin(Stdio::null())
        .spawn();
    login.context("cannot start a login")
}

/// Waits for the end of the session, and returns its failed execs.
fn closed(serial: u64) -> Result<Vec<Attempt>> {
    let mut found: Option<Recorded> = None;
    let is_closed = eventually(PATIENCE, || {
        found = read(Path::new(SPOOL), &Filter::All)?
            .into_iter()
            .find(|session| {
                let certificate = session.session.opened.auth.certificate.as_ref();
                let own = certificate.and_then(|certificate| certificate.serial);
                own.is_some_and(|own| own.to_string() == serial.to_string())
            });
        Ok(found
            .as_ref()
            .is_some_and(|session| session.session.closed.is_some()))
    })?;
    let session = found
        .filter(|_| is_closed)
        .context("the session is not closed")?;
    session.ensure_whole()?;
    let attempts = session.events.iter().filter_map(|event| match &event.kind {
        EventKind::ExecFailed { errno, exec } => Some((
            *errno,
            exec.filename.clone(),
            exec.argv.clone(),
            (
                exec.argc,
                exec.argv_true_len,
                exec.argv_truncated,
                exec.argv_fault,
            ),
            exec.cwd.clone(),
            exec.tid == event.process.tgid,
        )),
        _ => None,
    });
    Ok(attempts.collect())
}
