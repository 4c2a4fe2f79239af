//! `vctl rbac`: grants in the client, and the scopes that Vault and hosts enforce.

mod scopes;
