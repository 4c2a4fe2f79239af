//! Alice and bob log in to one shared Unix account at the same time, with two certificates. The recording separates
//! their work.
mod centre;
mod operator;
mod person;
mod proof;
mod work;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use vctl_tests::lab::{Certificate, Lab, Options, missing};

use centre::Middle;
use person::Person;

#[derive(Parser)]
#[command(
    name = "demo",
    about = "Show the work of two users on one shared account, separated by vctl"
)]
struct Arguments {
    /// Leave all parts running afterwards, for logins by hand
    #[arg(long)]
    keep: bool,
    /// Also play the second act: through OpenBao and Postgres, to `vctl audit` and `vctl session`
    #[arg(long)]
    centre: bool,
    /// Write the output of `vctl` in the second act to this directory as JSON, for another program
    #[arg(long, hide = true, value_name = "DIR", requires = "centre")]
    record: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    if let Some(why) = missing() {
        anyhow::bail!("this machine cannot run the demo: {why}");
    }
    let started = Instant::now();
    progress("Starting an sshd with a temporary CA and account, and the agent");
    let lab = Lab::start(&Options::default())?;
    say(&format!("ready after {} ms", started.elapsed().as_millis()));

    let mut certificates = Vec::new();
    for (name, serial) in [("alice", 1001), ("bob", 1002)] {
        certificates.push(lab.certificate(&format!("{name}-cert"), serial)?);
    }
    let mut unused = certificates.iter();
    let (alice, bob) = log_in_and_work(&lab, |name| {
        let certificate = unused.next().context("no certificate is left")?;
        let mut ssh = lab.ssh_command(certificate, lab.user());
        ssh.arg("-tt");
        let mut person = Person::enter(name, ssh)?;
        person.serial = certificate.serial;
        Ok(person)
    })?;
    progress("Waiting until their background work is over too");
    let proofs = proof::of_both(&lab, &certificates, &alice, &bob)?;
    say("done");
    for person in [&alice, &bob] {
        let serial = person.serial.to_string();
        show(lab.vctl_command(&["session", "--local", &serial]))?;
    }
    say("\nCommands that the two users ran, compared with the output of vctl:");
    for proof in &proofs {
        say(&format!("  {proof}"));
    }
    let proven = proofs.iter().all(proof::Proof::holds);
    ensure!(
        proven,
        "the timelines differ from the commands of the two users; agent log: {}",
        lab.agent.last_words()
    );
    if arguments.keep && !arguments.centre {
        wait_for_the_end(&by_hand(&lab, &certificates[0]));
    }
    progress("Undoing everything");
    let failures = lab.end();
    ensure!(failures.is_empty(), "could not be undone: {failures:?}");
    say("done: the machine is as it was");
    if arguments.centre {
        second_act(arguments)?;
    }
    Ok(())
}

fn second_act(arguments: &Arguments) -> Result<()> {
    say(
        "\nThe second act: the same two users log in with `vctl ssh` to a host that ships to Postgres.\n",
    );
    progress("Starting OpenBao and Postgres, and setting both up");
    let started = Instant::now();
    let middle = Middle::start()?;
    let lab = middle.lab()?;
    say(&format!("ready after {} ms", started.elapsed().as_millis()));
    progress("alice and bob: vctl login, each at a workstation of their own");
    let operators = [
        middle.operator(&lab, "alice")?,
        middle.operator(&lab, "bob")?,
    ];
    say("done");
    let mut at_home = operators.iter();
    let (alice, bob) = log_in_and_work(&lab, |_| {
        let operator = at_home.next().context("no operator is left")?;
        middle.enter(&lab, operator)
    })?;
    progress("Waiting until all of it is at the centre");
    for person in [&alice, &bob] {
        middle.await_whole(&lab, person.serial)?;
    }
    say("done");
    show(middle.vctl(&lab, &["audit"]))?;
    for person in [&alice, &bob] {
        let serial = person.serial.to_string();
        show(middle.vctl(&lab, &["session", &serial]))?;
    }
    let proofs = proof::compare(&alice, &bob, |serial| {
        middle.vctl(&lab, &["session", serial, "--full"])
    })?;
    say("\nCommands that the two users ran, compared with the records of the centre:");
    for proof in &proofs {
        say(&format!("  {proof}"));
    }
    ensure!(
        proofs.iter().all(proof::Proof::holds),
        "the timelines differ from the commands of the two users; agent log: {}",
        lab.agent.last_words()
    );
    if let Some(directory) = &arguments.record {
        record(directory, &middle, &lab, [&alice, &bob])?;
    }
    if arguments.keep {
        wait_for_the_end(&middle.by_hand(&lab, &operators[0])?);
    }
    progress("Undoing everything");
    let mut failures = lab.end();
    failures.extend(middle.end());
    ensure!(failures.is_empty(), "could not be undone: {failures:?}");
    say("done: the machine is as it was");
    Ok(())
}

/// Writes the access log, both sessions and both serials while the centre runs.
fn record(directory: &Path, middle: &Middle, lab: &Lab, people: [&Person; 2]) -> Result<()> {
    let write = |name: &str, args: &[&str]| -> Result<()> {
        let output = middle.vctl(lab, args).output()?;
        ensure!(output.status.success(), "`vctl {}` failed", args.join(" "));
        fs::write(directory.join(name), output.stdout).context("cannot write the record")
    };
    write("audit.json", &["audit", "-o", "json"])?;
    for person in people {
        let serial = person.serial.to_string();
        write(
            &format!("{}.json", person.name),
            &["session", &serial, "--json"],
        )?;
    }
    Ok(())
}

/// Both log in before one of them begins, and then type in turns.
fn log_in_and_work(
    lab: &Lab,
    mut enter: impl FnMut(&'static str) -> Result<Person>,
) -> Result<(Person, Person)> {
    work::prepare(lab)?;
    progress("Logging alice and bob in, both as the same Unix account");
    let mut alice = enter("alice")?;
    let mut bob = enter("bob")?;
    say("both are logged in\n");
    for (of_alice, of_bob) in work::of("alice").into_iter().zip(work::of("bob")) {
        for (person, line) in [(&mut alice, of_alice), (&mut bob, of_bob)] {
            say(&format!("  {:>5}$ {line}", person.name));
            person.type_line(&line)?;
        }
    }
    say("");
    progress("Logging both out; their background jobs continue");
    alice.log_out()?;
    bob.log_out()?;
    say("done");
    Ok((alice, bob))
}

fn show(mut vctl: Command) -> Result<()> {
    let args: Vec<_> = vctl.get_args().map(OsStr::to_string_lossy).collect();
    let line = format!("vctl {}", args.join(" "));
    say(&format!("\n$ {line}"));
    let status = vctl.status().context("cannot run `vctl`")?;
    ensure!(status.success(), "`{line}` ended with {status}");
    Ok(())
}

/// Returns the commands to log in to the lab by hand and to read the recording.
fn by_hand(lab: &Lab, alice: &Certificate) -> String {
    format!(
        "Log in by hand, in another terminal, as root:\n\n  {}\n\n\
         and see what you did:\n\n  {} session --local --spool {} --list",
        lab.ssh_line(alice),
        lab.programs.vctl.display(),
        lab.spool().display(),
    )
}

fn wait_for_the_end(by_hand: &str) {
    say(&format!(
        "\nStill running. {by_hand}\n\n\
         Ctrl-C here ends it and undoes everything; so does, as root in another terminal: kill {}",
        std::process::id()
    ));
    // The lab's own signal handler undoes all changes and ends the process.
    loop {
        std::thread::park();
    }
}

fn progress(step: &str) {
    let mut out = std::io::stdout();
    // The lab must be undone also when stdout is closed.
    let _ = write!(out, "{step} ... ");
    let _ = out.flush();
}

fn say(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}");
}
