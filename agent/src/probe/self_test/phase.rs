//! The part of the self-test that proves the offset by which the probe separates the user's work
//! from that of PAM.
//!
//! The first child acts as sshd's login process. It starts one program as PAM starts a hook, and
//! one as sshd starts the user's process, with its own groups. The probe must report two different
//! phases.
//! as sshd starts the user's, with groups of its own. The probe has to call the two different things.

use std::os::unix::process::CommandExt;
use std::process::Command;

use vctl_common::event::{exec_tail, fixed, header};
use vctl_common::wire::{self, Exec};

use super::{OWN_PROGRAM, same, wait_for};
use crate::probe::{Maps, ProbeError};

const HOOK: &str = "probe-self-test-hook";
const USERS: &str = "probe-self-test-users";
/// Program for the user's part if the agent may not set groups: this part is then not proven.
const UNPROVEN: &str = "probe-self-test-unproven";

/// Starts both programs from the first child and waits for them.
pub(super) fn start_both() -> Option<()> {
    let mut hook = Command::new(OWN_PROGRAM);
    hook.arg(HOOK).status().ok()?;
    let mut users = Command::new(OWN_PROGRAM);
    // With a user id that root sets, the standard library also calls setgroups(2).
    if users.arg(USERS).uid(0).status().is_err() {
        Command::new(OWN_PROGRAM).arg(UNPROVEN).status().ok()?;
    }
    Some(())
}

/// Returns whether the arguments are those of one of the two programs, which only exit.
pub(super) fn is_one(role: &str) -> bool {
    [HOOK, USERS, UNPROVEN].contains(&role)
}

/// Compares the phases of both programs with the expected ones.
pub(super) fn observe(maps: &Maps) -> Result<(), ProbeError> {
    let (_, phase) = next(maps)?;
    same("cred.group_info (kept)", phase, wire::PHASE_LOGIN_SETUP)?;
    match next(maps)? {
        (role, phase) if role == USERS => same("cred.group_info (set)", phase, wire::PHASE_USER),
        _ => Ok(()),
    }
}

/// Waits for the next of the two programs; returns its argument and its phase.
fn next(maps: &Maps) -> Result<(String, u32), ProbeError> {
    let found = |bytes: &[u8]| -> Option<(String, u32)> {
        let kind = header(bytes).ok()?.kind;
        let exec: Exec = fixed(bytes).ok().filter(|_| kind == wire::KIND_EXEC)?;
        let argv = exec_tail(&exec, bytes).ok()?.argv;
        let role = std::str::from_utf8(argv.split(|&b| b == 0).nth(1)?).ok()?;
        let phase = exec.flags >> wire::EXEC_PHASE_SHIFT & wire::PHASE_MASK;
        is_one(role).then(|| (role.to_owned(), phase))
    };
    let record = wait_for(maps, |bytes| found(bytes).is_some());
    let what =
        "a marked child started the programs of PAM and of the user, but a record is missing";
    record
        .and_then(|bytes| found(&bytes))
        .ok_or(ProbeError::SelfTestFailed { what })
}
