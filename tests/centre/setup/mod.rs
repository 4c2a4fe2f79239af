//! The parts of the setup: roles, rights, schema, stack, trusted roots.

mod cleanup;
mod migrate;
mod policies;
mod rights;
mod script;
mod servers;
mod stack;
mod stack_settings;
mod tls;
mod trust_store;
