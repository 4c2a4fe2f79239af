//! Attacks on vctl, on a real host and a real centre. Each file contains the attacks with one goal.
//!
//! A spec runs the attack and asserts the state after the defence. The table of `docs/threat-model.md` names the spec
//! of each row.
#![allow(clippy::unwrap_used, reason = "a spec that cannot go on has failed")]
mod as_person;
mod become_the_pruner;
mod blind_the_probe;
mod desk;
mod end_another_session;
mod erase_another_record;
mod erase_by_retention;
mod frame_another_person;
mod get_a_wider_certificate;
mod held;
mod impersonate_an_address;
mod install_a_foreign_ca;
mod log_in_unrecorded;
mod make_a_row_unreadable;
mod pose_as_another_person;
mod reader;
mod redirect_a_login;
mod return_after_revocation;
mod starve_the_centre;
mod write_to_a_terminal;
