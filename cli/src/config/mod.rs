//! Stub
use std::path::PathBuf;
use vctl_common::centre::{DbSettings, Settings, VaultSettings};
use vctl_common::secret::Secret;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Method { Oidc, Approle, Userpass, Token }
impl Method {
    pub(crate) fn name(self) -> &'static str { match self { Self::Oidc => "oidc", Self::Approle => "approle", Self::Userpass => "userpass", Self::Token => "token" } }
    pub(crate) fn is_a_persons(self) -> bool { self != Self::Approle }
}
pub(crate) struct Config {
    pub(crate) vault_addr: String, pub(crate) vault_ca_cert: Option<PathBuf>, pub(crate) vault_namespace: Option<String>, pub(crate) auth_method: Method,
    pub(crate) userpass_mount: String, pub(crate) username: Option<String>,
    pub(crate) approle_mount: String, pub(crate) approle_self_role: String,
    pub(crate) role_id: Option<Secret<String>>, pub(crate) secret_id: Option<Secret<String>>,
    pub(crate) role_id_file: Option<PathBuf>, pub(crate) secret_id_file: Option<PathBuf>, pub(crate) sink_path: Option<PathBuf>,
}
impl Config { pub(crate) fn settings(&self) -> Settings { Settings { vault: VaultSettings::new(&self.vault_addr), db: DbSettings::new("") } } }
pub(crate) struct Loaded { pub(crate) config: Config }
impl Loaded { pub(crate) fn source_of(&self, _: &str) -> &'static str { "" } pub(crate) fn is_from_directory(&self, _: &str) -> bool { false } }
