//! What the centre promises, on a real OpenBao and a real Postgres: one file per promise.
//!
//! Specs share one centre and make a database each; who stops a server has a centre of his own.
#![allow(clippy::unwrap_used, reason = "a spec that cannot go on has failed")]
mod cleanup;
mod completion;
mod configured;
mod credential;
mod doctor;
mod enroll;
mod exit_codes;
mod faults;
mod fleet;
mod forms;
mod hosts;
mod inventory;
mod inventory_edit;
mod inventory_sync;
mod leases;
mod login;
mod migrate;
mod names;
mod node;
mod oidc;
mod outage;
mod openssh;
mod picker;
mod policies;
mod pool;
mod programs;
mod prune;
mod reach;
mod reading;
mod rights;
mod setup;
mod ssh;
mod ship;
mod ship_faults;
mod ship_probe;
mod ship_versions;
mod stack;
mod status;
mod story;
mod table;
mod timing;
mod tls;
mod trust_store;
mod unattended;
