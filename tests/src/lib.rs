//! Common parts of the specs, the demo and the bench. The lab has a real sshd, real certificates and the real agent.
//! The centre has a real secrets server and a real Postgres. Both leave the machine as they found it. The loads write
//! their own ledger.
pub mod browser;
pub mod centre;
pub mod delay_line;
pub mod fixture;
pub mod lab;
pub mod load;
pub mod mcp_client;
pub mod pool_fixture;
pub mod npm;
pub mod provider;
pub mod ship;
pub mod terminal;
pub mod truth;
