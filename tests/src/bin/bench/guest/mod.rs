//! A guest whose clock counts instructions: 1 ns is one instruction, whatever else this machine
//! does, so costs agree between runs within about one percent.

pub(crate) mod boot;
pub(crate) mod cpio;
pub(crate) mod image;
pub(crate) mod kernel;
