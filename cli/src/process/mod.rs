//! This process: its descriptors, its ignored signals, and the browser it opens.

pub(crate) mod browser;
pub(crate) mod descriptor;
pub(crate) mod ignored_signals;
