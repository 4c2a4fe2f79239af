//! `vctl rbac`: the commands that each group of users may run.

mod check;
mod choose;
mod edit;
mod group;
mod scopes;
mod show;

use vctl_common::centre::DbRole;
use vctl_common::pg::{Client, PgError};

use crate::centre::context::Context;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::rbac::model::{Group, User};
use crate::rbac::{gate, store};
use crate::ui::help::TEMPLATE;
use crate::ui::sanitize;

/// Show and change which commands each group of users may run
///
/// The commands ssh, exec, sync, prune and trust-ca need a grant; so do proxy and the agent socket, with
/// the grant of ssh. Every user is a member of the group `everyone`, which has all commands until an
/// administrator revokes them. Users with the policy `vctl-admin` need no grant.
///
/// vctl checks grants before a command does anything. Grants prevent mistakes with vctl. Only the policies of Vault
/// stop other clients. See docs/rbac.md.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl rbac group create devs                Create a group
  vctl rbac member add devs albert           Add a user who has logged in
  vctl rbac grant devs ssh:dc=seoul-onprem   Allow logins to one data centre
  vctl rbac revoke everyone '*'              Stop allowing everything to all
  vctl rbac check ssh web-1                  Show whether you may log in
  vctl rbac log                              List the last changes")]
pub(crate) struct RbacArgs {
    #[command(subcommand)]
    command: RbacCommand,
}

#[derive(Debug, clap::Subcommand)]
enum RbacCommand {
    Group(group::GroupArgs),
    Member(edit::MemberArgs),
    Grant(edit::GrantArgs),
    Revoke(edit::RevokeArgs),
    Assign(edit::AssignArgs),
    Users(show::UsersArgs),
    Whoami(show::WhoamiArgs),
    Check(check::CheckArgs),
    Log(show::LogArgs),
    Scopes(scopes::ScopesArgs),
}

pub(crate) fn run(args: &RbacArgs, globals: &Globals) -> Result<(), Stop> {
    match &args.command {
        RbacCommand::Group(args) => group::run(args, globals),
        RbacCommand::Member(args) => edit::member(args, globals),
        RbacCommand::Grant(args) => edit::grant(args, globals),
        RbacCommand::Revoke(args) => edit::revoke(args, globals),
        RbacCommand::Assign(args) => edit::assign(args, globals),
        RbacCommand::Users(args) => show::users(args, globals),
        RbacCommand::Whoami(args) => show::whoami(args, globals),
        RbacCommand::Check(args) => check::run(args, globals),
        RbacCommand::Log(args) => show::log(args, globals),
        RbacCommand::Scopes(args) => scopes::run(args, globals),
    }
}

/// A connection that may change groups, and the user's display name for the record.
struct Editor {
    client: Client,
    by: String,
}

impl Editor {
    /// Connects.
    ///
    /// # Errors
    /// The user has no admin policy, or Vault gives no login for changes.
    async fn connect(context: &Context, what: &str) -> Result<Self, Stop> {
        gate::require_admin(context, what).await?;
        let client = context.connect_as(DbRole::Rw).await?;
        let by = context.display_name().await?;
        Ok(Self { client, by })
    }

    async fn groups(&self) -> Result<Vec<Group>, Stop> {
        Ok(store::groups(&self.client).await?)
    }

    async fn users(&self) -> Result<Vec<User>, Stop> {
        Ok(store::users(&self.client).await?)
    }

    /// Adds the existing groups to an error about a missing one.
    async fn explain(&self, error: PgError) -> Stop {
        let Some(db) = error.db_error() else {
            return error.into();
        };
        // `undefined_object` and `invalid_parameter_value`, raised by the functions of migration 21.
        match db.code().code() {
            "42704" => {
                let message = db.message().to_owned();
                match self.groups().await {
                    Ok(groups) => no_group(message, &groups).into(),
                    Err(stop) => stop,
                }
            }
            "22023" => CliError::new(Exit::Usage, db.message()).into(),
            _ => error.into(),
        }
    }
}

/// Maximum number of groups in an error.
const LISTED: usize = 10;

/// Returns an error about a missing group, with the existing ones.
fn no_group(message: String, groups: &[Group]) -> CliError {
    let names = groups
        .iter()
        .take(LISTED)
        .map(|group| format!("`{}`", sanitize::text(&group.name)));
    let names: Vec<String> = names.collect();
    let names = names.join(", ");
    let groups = if groups.len() > LISTED {
        let all = groups.len();
        format!("`vctl rbac group list` lists all {all} groups, such as {names}")
    } else {
        format!("the groups are {names}")
    };
    let hint = format!("{groups}; `vctl rbac group create NAME` creates one");
    CliError::new(Exit::NotFound, message).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_about_a_missing_group_lists_only_some_of_many() {
        let groups = |count: usize| -> Vec<Group> {
            let group = |number| Group {
                name: format!("g{number}"),
                description: String::new(),
                created_at: None,
                members: Vec::new(),
                grants: Vec::new(),
            };
            (0..count).map(group).collect()
        };
        let hint = |count| no_group("x".to_owned(), &groups(count)).hint.unwrap();
        assert!(hint(2).starts_with("the groups are `g0`, `g1`; "));
        assert!(hint(10).contains("`g9`; "));
        let many = hint(200);
        assert!(many.starts_with("`vctl rbac group list` lists all 200 groups, such as `g0`"));
        assert!(many.contains("`g9`; ") && !many.contains("`g10`"), "{many}");
    }
}
