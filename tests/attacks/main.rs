//! Attacks on vctl, on a real host and a real centre: one file per goal of the attacker.
//!
//! A spec carries out the attack and asserts what the defence leaves behind. The table of
//! `docs/threat-model.md` names the spec of each row.
#![allow(clippy::unwrap_used, reason = "a spec that cannot go on has failed")]

mod desk;
mod install_a_foreign_ca;
mod redirect_a_login;
mod write_to_a_terminal;
