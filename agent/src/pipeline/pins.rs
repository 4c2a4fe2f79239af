//! What root does to the probe while it runs: told, and undone as far as it can be.

use std::time::{Duration, Instant};

use tracing::{error, warn};
use vctl_common::session::{Gap, GapCause};

use crate::probe::Pins;
use crate::session::boot_now;

use super::collector::Collector;

/// How long a host is said to have been tampered with.
const TOLD_FOR: Duration = Duration::from_hours(1);

/// What was found of the pins lately, for the status.
#[derive(Debug, Default)]
pub(super) struct Tampering {
    restored: Option<(Instant, String)>,
    /// What stands in the way now.
    standing: Option<String>,
}

impl Tampering {
    pub(super) fn problem(&self) -> Option<String> {
        let restored = self.restored.as_ref();
        let restored = restored.filter(|(at, _)| at.elapsed() < TOLD_FOR);
        self.standing.clone().or_else(|| {
            let (_, names) = restored?;
            Some(format!(
                "pins of the probe were removed or replaced, and put back: {names}"
            ))
        })
    }

    fn stands(&mut self, problem: Option<String>) {
        if problem != self.standing
            && let Some(problem) = &problem
        {
            error!(problem, "The probe is not safe from others.");
        }
        self.standing = problem;
    }
}

impl Collector {
    /// Looks whether the probe and its pins are what they were, and puts back what is not.
    pub(super) fn watch_pins(&mut self) {
        if self.detached {
            return;
        }
        let from = self.skipped_checked;
        match self.probe.verify() {
            Ok(Pins::Whole) => {
                let untrusted = self.probe.untrusted();
                self.tampering.stands(untrusted.map(|why| why.to_string()));
            }
            Ok(Pins::Gone) => {
                self.detached = true;
                error!("The probe is no longer attached; restart the agent to attach it again.");
                self.probe_was_away(from);
            }
            Ok(Pins::Restored { names, was_off }) => {
                self.numbers.counted.pins_restored += names.len() as u64;
                let names = names.join(", ");
                error!(
                    names,
                    was_off, "Pins of the probe were removed or replaced; they are back."
                );
                self.tampering.restored = Some((Instant::now(), names));
                if was_off {
                    self.probe_was_away(from);
                }
            }
            Err(error) => {
                warn!(%error, "A pin of the probe could not be put back.");
                self.tampering.stands(Some(format!(
                    "the probe's pins cannot be put back: {error}"
                )));
                // A link that could not be pinned is lost: what it would have told is unknown.
                self.probe_was_away(from);
            }
        }
    }

    /// From the last look on nothing is certain, for any session.
    fn probe_was_away(&mut self, from: vctl_common::time::BootNs) {
        self.gap(Gap {
            session: None,
            cause: GapCause::ProbeAway,
            events: None,
            first_seq: None,
            last_seq: None,
            cpu: None,
            from,
            to: boot_now(),
        });
    }
}
