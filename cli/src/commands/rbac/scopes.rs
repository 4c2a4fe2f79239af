//! `vctl rbac scopes`: compares a scope file with Vault.

use std::path::PathBuf;

use crate::centre::context;
use crate::centre::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::rbac::scope_roles::RoleState;
use crate::rbac::{gate, scope_file, scope_roles};
use crate::ui::help::TEMPLATE;
use crate::ui::notice;

/// Check that Vault has the roles of a scope file
///
/// Reads the role of each scope, and fails with each field that differs. deploy/vault/setup.sh and
/// Terraform create the roles: docs/rbac-scopes.md. Needs the policy `vctl-admin`.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl rbac scopes scopes.json    Compare the file with Vault")]
pub(super) struct ScopesArgs {
    /// The scope file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(args: &ScopesArgs, globals: &Globals) -> Result<(), Stop> {
    let scopes = scope_file::read(&args.file)?;
    let causes = context::run(globals, async |context| {
        gate::require_admin(context, "rbac scopes").await?;
        let mut causes = Vec::new();
        for entry in &scopes {
            for role in scope_roles::compare(context.vault(), entry).await? {
                let path = role.path;
                match role.state {
                    RoleState::Equal => {}
                    RoleState::Missing => causes.push(format!("`{path}` does not exist")),
                    RoleState::Different(differences) => causes.extend(
                        differences
                            .iter()
                            .map(|difference| format!("`{path}`: {difference}")),
                    ),
                }
            }
        }
        Ok(causes)
    })?;
    let file = args.file.display();
    if causes.is_empty() {
        let count = scopes.len();
        notice::done(&format!("Vault enforces the {count} scopes of `{file}`"));
        return Ok(());
    }
    let mut error = CliError::new(Exit::Config, format!("Vault does not enforce `{file}`"));
    error.causes = causes;
    let hint = "an administrator of Vault applies the file: `SCOPES=FILE deploy/vault/setup.sh`, or Terraform";
    Err(error.hint(hint).into())
}
