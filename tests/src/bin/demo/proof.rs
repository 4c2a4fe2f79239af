//! Compares each timeline with the commands that its user ran.

use std::fmt;
use std::process::Command;

use anyhow::{Context, Result};
use vctl_tests::lab::{Certificate, Lab};

use crate::person::Person;
use crate::work;

/// Commands of both users in one timeline.
pub(crate) struct Proof {
    name: &'static str,
    own: usize,
    of: usize,
    foreign: usize,
}

impl Proof {
    pub(crate) fn holds(&self) -> bool {
        self.own == self.of && self.foreign == 0
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.holds() { "ok" } else { "WRONG" };
        let Self {
            name,
            own,
            of,
            foreign,
        } = self;
        write!(
            f,
            "{verdict}: {name}'s timeline shows {own} of {of} of {name}'s commands, "
        )?;
        write!(f, "{foreign} of the other user's")
    }
}

/// Waits until both sessions are over, with their background work, and reads both.
pub(crate) fn of_both(
    lab: &Lab,
    certificates: &[Certificate],
    alice: &Person,
    bob: &Person,
) -> Result<[Proof; 2]> {
    for certificate in certificates {
        lab.whole_session(certificate)
            .with_context(|| format!("session {} is not whole", certificate.serial))?;
    }
    let local = |serial: &str| lab.vctl_command(&["session", "--local", serial, "--full"]);
    compare(alice, bob, local)
}

/// Compares both timelines, as `vctl` prints them for a serial, with the commands that the users ran.
pub(crate) fn compare(
    alice: &Person,
    bob: &Person,
    vctl: impl Fn(&str) -> Command,
) -> Result<[Proof; 2]> {
    Ok([prove(&vctl, alice, bob)?, prove(&vctl, bob, alice)?])
}

fn prove(vctl: impl Fn(&str) -> Command, person: &Person, other: &Person) -> Result<Proof> {
    let serial = person.serial.to_string();
    let output = vctl(&serial).output().context("cannot run `vctl`")?;
    let timeline = String::from_utf8_lossy(&output.stdout);
    let shown = |name: &str| {
        let names = work::names(name);
        (
            names
                .iter()
                .filter(|name| timeline.contains(name.as_str()))
                .count(),
            names.len(),
        )
    };
    let (own, of) = shown(person.name);
    let (foreign, _) = shown(other.name);
    Ok(Proof {
        name: person.name,
        own,
        of,
        foreign,
    })
}
