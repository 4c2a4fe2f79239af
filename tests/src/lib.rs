//! Specs, and the load and measurements that stand beside them.

pub mod load;
