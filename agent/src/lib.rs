//! From the ring buffer to the spool and on to the centre, in this order.
pub mod args;
pub mod config;
pub mod pipeline;
pub mod probe;
pub mod session;
pub mod enrich;
pub mod attribute;
pub mod redact;
pub mod spool;
pub mod store;
pub mod loss;
pub mod metrics;
pub mod check;
pub mod machine_id;
pub mod node;
pub mod stderr;
