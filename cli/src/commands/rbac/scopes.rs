//! `vctl rbac scopes`: compares a scope file with Vault.

use std::path::PathBuf;

use vctl_common::centre::DbRole;
use vctl_common::count::counted;

use crate::centre::context;
use crate::centre::context::Context;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::rbac::scope::Grant;
use crate::rbac::scope_file::EnforcedScope;
use crate::rbac::scope_roles::RoleState;
use crate::rbac::{gate, scope_file, scope_roles, store};
use crate::ui::help::TEMPLATE;
use crate::ui::{notice, sanitize};

/// Check that Vault has the roles of a scope file
///
/// Compares the role of each scope with the file, and the scopes of all grants with it. Lists each difference
/// and exits with 78 if there is one. deploy/vault/setup.sh and Terraform create the roles:
/// docs/rbac-scopes.md. Needs the policy `vctl-admin`.
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
        causes.extend(grants_outside(context, &scopes).await?);
        Ok(causes)
    })?;
    let file = args.file.display();
    if causes.is_empty() {
        let count = counted(scopes.len() as u64, "scope");
        notice::done(&format!("Vault enforces `{file}`: {count}"));
        return Ok(());
    }
    let mut error = CliError::new(
        Exit::Config,
        format!("Vault does not enforce `{file}` as it is"),
    );
    error.causes = causes;
    let hint = "an administrator of Vault applies the file: `SCOPES=FILE deploy/vault/setup.sh`, or Terraform";
    Err(error.hint(hint).into())
}

/// Returns a text for each grant whose scope is not in the file.
async fn grants_outside(context: &Context, scopes: &[EnforcedScope]) -> Result<Vec<String>, Stop> {
    let client = context.connect_as(DbRole::Ro).await?;
    let groups = store::groups(&client).await?;
    let is_outside = |grant: &str| {
        let Ok(Grant { scope, .. }) = grant.parse() else {
            return false;
        };
        !scope.is_everything() && scopes.iter().all(|entry| entry.scope != scope)
    };
    let mut outside = Vec::new();
    for group in groups {
        let grants = group.grants.iter().filter(|grant| is_outside(grant));
        outside.extend(grants.map(|grant| {
            let name = sanitize::text(&group.name);
            format!("the scope of the grant `{grant}` of the group `{name}` is not in the file")
        }));
    }
    Ok(outside)
}
