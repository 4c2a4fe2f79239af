//! The path from the spool of a host to Postgres: every event arrives once, with credentials of the host.

mod again;
mod agent_check;
mod credential;
mod enroll;
mod enrolled_image;
mod faults;
mod hosts;
mod leases;
mod node;
mod pool;
mod rename;
mod ship;
mod ship_faults;
mod ship_probe;
mod ship_versions;
mod stream;
mod stream_blocked;
mod stream_faults;
mod stream_headers;
mod stream_identity;
mod stream_names;
mod stream_repair;
mod stream_switch;
