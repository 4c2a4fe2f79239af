//! What the host agent and the workstation must agree on.
//!
//! `agent-ebpf` takes [`wire`] and [`layout`] alone, with default features off.
#![cfg_attr(not(feature = "std"), no_std)]

pub mod layout;
pub mod wire;

#[cfg(feature = "std")]
pub mod event;
#[cfg(feature = "std")]
pub mod id;
#[cfg(feature = "std")]
pub mod person;
#[cfg(feature = "std")]
pub mod session;
#[cfg(feature = "std")]
pub mod spool;
#[cfg(feature = "std")]
pub mod time;
