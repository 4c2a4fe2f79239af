//! Finds out whether failed execs can be recorded at the exit of exec: a kernel may accept such a probe and not run it,
//! or skip it for some execs.

use std::path::Path;

use vctl_common::causes::WithCauses;

use super::facts::ExecExitFact;
use crate::config::Config;
use crate::probe::maps::pinned_state;
use crate::probe::{KERNEL_BTF, OWN_PROGRAM, ProbeOptions, preemptible_by, try_exec_exits};

/// Size of the trial's ring, which has two records.
const RING_BYTES: u32 = 1 << 16;

pub(super) fn look(config: &Config) -> ExecExitFact {
    if !config.failed_exec {
        return ExecExitFact::NotTried;
    }
    let preemptible_by = preemptible_by(Path::new("/"));
    let pinned = pinned_state(&config.pin_dir).ok();
    if pinned.is_some_and(|state| state.exec_exits) {
        return ExecExitFact::Attached { preemptible_by };
    }
    if pinned.is_some_and(|state| state.skipped_exits) {
        return ExecExitFact::Skipped;
    }
    if let Some(source) = preemptible_by {
        return ExecExitFact::Preemptible(source);
    }
    let tried = try_exec_exits(&ProbeOptions {
        pin_dir: config.pin_dir.clone(),
        ring_bytes: RING_BYTES,
        capture_all: false,
        failed_exec: true,
        log: false,
        btf: KERNEL_BTF.into(),
        self_test: OWN_PROGRAM.into(),
    });
    match tried {
        Ok(()) => ExecExitFact::Accepted {
            is_other_pinned: pinned.is_some(),
        },
        Err(error) => {
            // The verifier's log follows on further lines.
            let reason = WithCauses(&error).to_string();
            ExecExitFact::Refused(reason.lines().next().unwrap_or_default().to_owned())
        }
    }
}
