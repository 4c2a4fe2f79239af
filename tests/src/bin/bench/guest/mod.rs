//! A guest whose clock counts instructions: 1 ns is one instruction. Other load of this machine does not matter, so
//! costs agree between runs within about one percent.

pub(crate) mod boot;
pub(crate) mod cpio;
pub(crate) mod image;
pub(crate) mod kernel;
