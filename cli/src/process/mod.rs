//! This process and the ones it starts: descriptors, signals, children.

pub(crate) mod browser;
pub(crate) mod descriptor;
pub(crate) mod ignored_signals;
