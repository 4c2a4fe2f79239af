//! Changes of root to the running probe: reported, and undone as far as possible.

use std::time::{Duration, Instant};

use tracing::{error, warn};
use vctl_common::causes::WithCauses;
use vctl_common::session::{Gap, GapCause};
use vctl_common::time::BootNs;

use crate::pipeline::spool_out::SpoolOut;
use crate::probe::{Pins, Probe};
use crate::session::boot_now;

/// Time for which the status reports restored pins.
const REPORTED_FOR: Duration = Duration::from_hours(1);

/// The state of the probe's pins.
pub(super) struct PinWatch {
    restored: Option<(Instant, String)>,
    /// The reason why the pins are not safe now.
    unsafe_now: Option<String>,
    /// The probe was detached while this collector ran.
    detached: bool,
    restored_count: u64,
}

impl PinWatch {
    pub(super) fn new(restored_before: u64) -> Self {
        Self {
            restored: None,
            unsafe_now: None,
            detached: false,
            restored_count: restored_before,
        }
    }

    pub(super) fn is_detached(&self) -> bool {
        self.detached
    }

    pub(super) fn restored_count(&self) -> u64 {
        self.restored_count
    }

    /// The sentence for the status, while there is a problem.
    pub(super) fn problem(&self) -> Option<String> {
        let restored = self.restored.as_ref();
        let restored = restored.filter(|(at, _)| at.elapsed() < REPORTED_FOR);
        self.unsafe_now.clone().or_else(|| {
            let (_, names) = restored?;
            Some(format!(
                "pins of the probe were removed or replaced, and put back: {names}"
            ))
        })
    }

    /// Compares the probe and its pins with what was loaded, and restores what differs. The last look was at
    /// `looked_at`.
    pub(super) fn look(&mut self, looked_at: BootNs, probe: &mut Probe, out: &mut SpoolOut) {
        if self.detached {
            return;
        }
        // Since the last look no session is certain to be complete.
        let away = || Gap::new(GapCause::ProbeAway, None, looked_at, boot_now());
        match probe.verify() {
            Ok(Pins::Whole) => {
                let untrusted = probe.untrusted();
                self.note_unsafe(untrusted.map(|why| why.to_string()));
            }
            Ok(Pins::Gone) => {
                self.detached = true;
                error!("The probe is no longer attached; restart the agent to attach it again.");
                out.gap(away());
            }
            Ok(Pins::Restored { names, was_off }) => {
                self.restored_count += names.len() as u64;
                let names = names.join(", ");
                error!(
                    names,
                    was_off, "Pins of the probe were removed or replaced; they are restored."
                );
                self.restored = Some((Instant::now(), names));
                if was_off {
                    out.gap(away());
                }
            }
            Err(error) => {
                warn!(error = %WithCauses(&error), "A pin of the probe could not be restored.");
                self.note_unsafe(Some(format!(
                    "the probe's pins cannot be put back: {}",
                    WithCauses(&error)
                )));
                // A link that could not be pinned is lost, and so are the events that it would have recorded.
                out.gap(away());
            }
        }
    }

    fn note_unsafe(&mut self, problem: Option<String>) {
        if problem != self.unsafe_now
            && let Some(problem) = &problem
        {
            error!(problem, "The probe is not safe from other users.");
        }
        self.unsafe_now = problem;
    }
}
