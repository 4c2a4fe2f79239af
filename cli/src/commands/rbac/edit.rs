//! The parts of `vctl rbac` that change members and grants.

use super::{Editor, choose};
use crate::centre::context;
use crate::completion;
use crate::config::globals::Globals;
use crate::error::Stop;
use crate::rbac::caller::EVERYONE;
use crate::rbac::model::Group;
use crate::rbac::scope::Grant;
use crate::rbac::store_edit::Edit;
use crate::rbac::{name, scope_roles, store_edit, table};
use crate::ui::help::TEMPLATE;
use crate::ui::{notice, sanitize};

/// Add users to a group, or remove them
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl rbac member add devs albert zoe       Add two users
  vctl rbac member remove devs oidc-albert   Remove one, by the whole name")]
pub(super) struct MemberArgs {
    #[command(subcommand)]
    command: MemberCommand,
}

#[derive(Debug, clap::Subcommand)]
enum MemberCommand {
    /// Add users to a group
    Add(GroupAndUsers),
    /// Remove users from a group
    Remove(GroupAndUsers),
}

#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE)]
struct GroupAndUsers {
    /// Name of the group
    #[arg(value_name = "GROUP", value_parser = name::group)]
    group: String,

    /// Users, by their names in `vctl rbac users`
    #[arg(value_name = "USER", value_parser = name::user, required = true, add = completion::person())]
    users: Vec<String>,
}

pub(super) fn member(args: &MemberArgs, globals: &Globals) -> Result<(), Stop> {
    let (args, edit, what) = match &args.command {
        MemberCommand::Add(args) => (args, Edit::Add, "rbac member add"),
        MemberCommand::Remove(args) => (args, Edit::Remove, "rbac member remove"),
    };
    context::run(globals, async |context| {
        let editor = Editor::connect(context, what).await?;
        change_members(&editor, &args.group, &args.users, edit).await
    })
}

/// Add several users to a group, chosen from a list
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl rbac assign                     Choose a group, then users
  vctl rbac assign devs                Choose users for devs
  vctl rbac assign devs albert zoe     Add these users, without a list")]
pub(super) struct AssignArgs {
    /// Name of the group; without it, choose one on a terminal
    #[arg(value_name = "GROUP", value_parser = name::group)]
    group: Option<String>,

    /// Users; without any, choose them on a terminal
    #[arg(value_name = "USER", value_parser = name::user, add = completion::person())]
    users: Vec<String>,
}

pub(super) fn assign(args: &AssignArgs, globals: &Globals) -> Result<(), Stop> {
    let interaction = globals.interaction();
    context::run(globals, async |context| {
        let editor = Editor::connect(context, "rbac assign").await?;
        let groups = editor.groups().await?;
        let group = choose::group(
            args.group.as_deref(),
            &groups,
            |group| group.name != EVERYONE,
            interaction,
        )
        .await?;
        let users = if args.users.is_empty() {
            choose::new_members(group, &editor.users().await?, interaction).await?
        } else {
            args.users.clone()
        };
        if users.is_empty() {
            return Ok(());
        }
        change_members(&editor, &group.name, &users, Edit::Add).await
    })
}

async fn change_members(
    editor: &Editor,
    group: &str,
    users: &[String],
    edit: Edit,
) -> Result<(), Stop> {
    let known = editor.users().await?;
    let mut names = Vec::new();
    for user in users {
        let (whole, is_known) = name::display_name(user, &known)?;
        if !is_known && edit == Edit::Add {
            notice::note(&format!(
                "`{}` has not logged in yet, so it is stored as it is: the name must be the whole display name in Vault, such as `oidc-albert`",
                sanitize::text(&whole)
            ));
        }
        names.push(whole);
    }
    let (client, by) = (&editor.client, &editor.by);
    let changed = match store_edit::members(client, by, group, &names, edit).await {
        Ok(changed) => changed,
        Err(error) => return Err(editor.explain(error).await),
    };
    for name in names {
        let is_changed = changed.contains(&name);
        let name = sanitize::text(&name);
        notice::note(&match (edit, is_changed) {
            (Edit::Add, true) => format!("`{name}` is now a member of `{group}`"),
            (Edit::Add, false) => format!("`{name}` is a member of `{group}` already"),
            (Edit::Remove, true) => format!("`{name}` is no longer a member of `{group}`"),
            (Edit::Remove, false) => format!("`{name}` is not a member of `{group}`"),
        });
    }
    Ok(())
}

/// Allow a group to run commands
///
/// COMMAND is ssh, exec, sync, prune, trust-ca, or `*` for all of them. The grant of ssh can be narrowed to
/// some hosts and users on them: `ssh:dc=NAME`, `ssh:host=PATTERN` and `ssh:user=NAME`; conditions that are
/// joined with commas must all match.
///
/// A narrowed grant needs the signing role of its scope in Vault, which enforces it: docs/rbac-scopes.md.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl rbac grant                             Choose a group, then commands
  vctl rbac grant devs ssh exec               Allow two commands
  vctl rbac grant devs ssh:dc=seoul-onprem    Only hosts of one data centre
  vctl rbac grant devs 'ssh:host=web-*,user=deploy'")]
pub(super) struct GrantArgs {
    /// Name of the group; without it, choose one on a terminal
    #[arg(value_name = "GROUP", value_parser = name::group)]
    group: Option<String>,

    /// Commands; without any, choose them on a terminal
    #[arg(value_name = "COMMAND[:SCOPE]", value_parser = name::grant)]
    grants: Vec<Grant>,
}

pub(super) fn grant(args: &GrantArgs, globals: &Globals) -> Result<(), Stop> {
    let interaction = globals.interaction();
    context::run(globals, async |context| {
        let editor = Editor::connect(context, "rbac grant").await?;
        let groups = editor.groups().await?;
        let group = choose::group(args.group.as_deref(), &groups, |_| true, interaction).await?;
        let grants = if args.grants.is_empty() {
            choose::new_grants(group, interaction).await?
        } else {
            args.grants.clone()
        };
        if grants.is_empty() {
            return Ok(());
        }
        // Without a role, nothing but this program would enforce the scope.
        let scopes = grants.iter().map(|grant| &grant.scope);
        for scope in scopes.filter(|scope| !scope.is_everything()) {
            scope_roles::require(context.vault(), scope).await?;
        }
        let changed = change_grants(&editor, &group.name, &grants, Edit::Add).await?;
        let everyone = groups.iter().find(|group| group.name == EVERYONE);
        let has_all = |group: &Group| group.grants.iter().any(|grant| grant == "*");
        if group.name != EVERYONE && !changed.is_empty() && everyone.is_some_and(has_all) {
            notice::note(
                "the group `everyone` still has the grant `*`, so every user may run every command: `vctl rbac revoke everyone '*'` ends that",
            );
        }
        Ok(())
    })
}

/// Stop allowing a group to run commands
///
/// Takes effect with the next command of each user. While Postgres is unreachable, vctl uses grants that
/// Postgres confirmed up to 24 hours ago.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl rbac revoke devs exec        Revoke one command
  vctl rbac revoke everyone '*'     Allow nothing to users without a group")]
pub(super) struct RevokeArgs {
    /// Name of the group
    #[arg(value_name = "GROUP", value_parser = name::group)]
    group: String,

    /// Grants, as `vctl rbac group show` lists them
    #[arg(value_name = "COMMAND[:SCOPE]", value_parser = name::stored_grant, required = true)]
    grants: Vec<Grant>,
}

pub(super) fn revoke(args: &RevokeArgs, globals: &Globals) -> Result<(), Stop> {
    context::run(globals, async |context| {
        let editor = Editor::connect(context, "rbac revoke").await?;
        change_grants(&editor, &args.group, &args.grants, Edit::Remove).await?;
        let groups = editor.groups().await?;
        let Some(group) = groups.iter().find(|group| group.name == args.group) else {
            return Ok(());
        };
        if !group.grants.is_empty() {
            let grants = group.grants.join(", ");
            notice::note(&format!("the group `{}` still has {grants}", group.name));
        }
        if groups.iter().all(|group| group.grants.is_empty()) {
            notice::note(
                "no group has a grant now: only users with an admin policy in Vault can run ssh, exec, sync, prune and trust-ca",
            );
        }
        Ok(())
    })
}

async fn change_grants(
    editor: &Editor,
    group: &str,
    grants: &[Grant],
    edit: Edit,
) -> Result<Vec<Grant>, Stop> {
    let (client, by) = (&editor.client, &editor.by);
    let changed = match store_edit::grants(client, by, group, grants, edit).await {
        Ok(changed) => changed,
        Err(error) => return Err(editor.explain(error).await),
    };
    let is_same = |grant: &&Grant| !changed.contains(grant);
    let same: Vec<Grant> = grants.iter().filter(is_same).cloned().collect();
    let (changed_to, same_as) = match edit {
        Edit::Add => ("may now run", "may run already:"),
        Edit::Remove => ("may no longer run", "did not have the grant"),
    };
    if !changed.is_empty() {
        let names = table::names_of(&changed);
        notice::note(&format!("the group `{group}` {changed_to} {names}"));
    }
    if !same.is_empty() {
        let names = table::names_of(&same);
        notice::note(&format!("the group `{group}` {same_as} {names}"));
    }
    Ok(changed)
}
