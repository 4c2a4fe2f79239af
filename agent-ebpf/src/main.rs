//! Kernel side of vctl-agent: records the programs that processes of SSH sessions execute, and how
//! these processes end.
//!
//! Each probe first checks whether the task is in a session ([`session`]); for other tasks it
//! returns after one lookup. The agent sets the offsets of members in kernel structs ([`kernel`]).
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![allow(
    internal_features,
    reason = "atomic add exists for this target as an intrinsic only"
)]

mod attempt;
mod cgroup;
mod copies;
mod exec;
mod exit;
mod failed;
mod fork;
mod kernel;
mod late;
mod login;
mod maps;
mod path;
mod phase;
mod session;
mod task;

/// Most of the helpers used here are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
