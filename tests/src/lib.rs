//! What the specs, the demo and the bench stand on: a laboratory with a real sshd, real
//! certificates and the real agent, a centre with a real secrets server and a real Postgres, which
//! leave the machine as they found it, and loads that keep their own ledger.
pub mod browser;
pub mod centre;
pub mod fixture;
pub mod lab;
pub mod load;
pub mod pool_fixture;
pub mod provider;
pub mod ship;
pub mod terminal;
pub mod truth;
