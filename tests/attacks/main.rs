//! Attacks on vctl, on a real host and a real centre: one file per goal of the attacker.
//!
//! A spec carries out the attack and asserts what the defence leaves behind. The table of
//! `docs/threat-model.md` names the spec of each row.
#![allow(clippy::unwrap_used, reason = "a spec that cannot go on has failed")]

mod blind_the_probe;
mod erase_another_record;
