//! What is set up once: roles, rights, schema, stack, trusted roots.

mod cleanup;
mod migrate;
mod policies;
mod rights;
mod script;
mod stack;
mod stack_settings;
mod tls;
mod trust_store;
