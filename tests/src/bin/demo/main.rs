//! Two people, two certificates, one shared Unix account, at the same time: who did what?
mod person;
mod proof;
mod work;

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use vctl_tests::lab::{Lab, Options, missing};

use person::Person;

#[derive(Parser)]
#[command(
    name = "demo",
    about = "Show what two people did on one host, told apart"
)]
struct Arguments {
    /// Leave everything running afterwards, to log in by hand
    #[arg(long)]
    keep: bool,
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
    progress("Starting an sshd of its own, with a throw-away CA and account, and the agent");
    let lab = Lab::start(&Options::default())?;
    say(&format!("ready after {} ms", started.elapsed().as_millis()));

    let (alice, bob) = log_in_and_work(&lab)?;
    progress("Waiting until their background work is over too");
    let proofs = proof::of_both(&lab, &alice, &bob)?;
    say("done");
    for person in [&alice, &bob] {
        show(
            &lab,
            &["session", "--local", &person.certificate.serial.to_string()],
        )?;
    }
    say("\nWhat they say they did, against what vctl says:");
    for proof in &proofs {
        say(&format!("  {proof}"));
    }
    let proven = proofs.iter().all(proof::Proof::holds);
    ensure!(
        proven,
        "the timelines are not what the two did; agent log: {}",
        lab.agent.last_words()
    );
    if arguments.keep {
        wait_for_the_end(&lab, &alice);
    }
    progress("Undoing everything");
    let failures = lab.end();
    ensure!(failures.is_empty(), "could not be undone: {failures:?}");
    say("done: the machine is as it was");
    Ok(())
}

/// Both are in before either begins, and they type in turns.
fn log_in_and_work(lab: &Lab) -> Result<(Person, Person)> {
    work::prepare(lab)?;
    progress("Logging alice and bob in, both as the same Unix account");
    let mut alice = Person::log_in(lab, "alice", 1001)?;
    let mut bob = Person::log_in(lab, "bob", 1002)?;
    say("both are in\n");
    for (of_alice, of_bob) in work::of("alice").into_iter().zip(work::of("bob")) {
        for (person, line) in [(&mut alice, of_alice), (&mut bob, of_bob)] {
            say(&format!("  {:>5}$ {line}", person.name));
            person.type_line(&line)?;
        }
    }
    say("");
    progress("Logging both out; what they left in the background goes on");
    alice.log_out()?;
    bob.log_out()?;
    say("done");
    Ok((alice, bob))
}

fn show(lab: &Lab, args: &[&str]) -> Result<()> {
    say(&format!("\n$ vctl {}", args.join(" ")));
    let status = lab
        .vctl_command(args)
        .status()
        .context("cannot run `vctl`")?;
    ensure!(
        status.success(),
        "`vctl {}` ended with {status}",
        args.join(" ")
    );
    Ok(())
}

fn wait_for_the_end(lab: &Lab, alice: &Person) {
    say(&format!(
        "\nStill running. Log in by hand, in another terminal, as root:\n\n  {}\n\n\
         and see what you did:\n\n  {} session --local --spool {} --list\n\n\
         Ctrl-C here ends it and undoes everything; so does, from elsewhere: kill {}",
        lab.ssh_line(&alice.certificate),
        lab.programs.vctl.display(),
        lab.spool().display(),
        std::process::id()
    ));
    // The lab's own watcher undoes and ends the process.
    loop {
        std::thread::park();
    }
}

fn progress(step: &str) {
    let mut out = std::io::stdout();
    // A closed stdout must not keep the lab from being undone.
    let _ = write!(out, "{step} ... ");
    let _ = out.flush();
}

fn say(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}");
}
