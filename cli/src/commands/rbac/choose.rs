//! Choices on a terminal for `vctl rbac`: a group, then users or commands.

use vctl_common::count::counted;
use vctl_common::person::Person;

use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::inventory::picker::list;
use crate::rbac::caller::EVERYONE;
use crate::rbac::command::grantable;
use crate::rbac::model::{Group, User};
use crate::rbac::scope::Grant;
use crate::ui::ask::Interaction;
use crate::ui::notice;

/// Returns the group of the command line, or the one that the user chooses among those that are `offered`.
pub(super) async fn group<'a>(
    given: Option<&str>,
    groups: &'a [Group],
    offered: impl Fn(&Group) -> bool,
    interaction: Interaction,
) -> Result<&'a Group, Stop> {
    if let Some(name) = given {
        let found = groups.iter().find(|group| group.name == name);
        let missing = || super::no_group(format!("there is no group `{name}`"), groups);
        return Ok(found.ok_or_else(missing)?);
    }
    require_terminal(interaction, "no group was given", "vctl rbac group list")?;
    let offered: Vec<&Group> = groups.iter().filter(|group| offered(group)).collect();
    if offered.is_empty() {
        return Err(super::no_group("there is no other group".to_owned(), groups).into());
    }
    let lines = offered.iter().map(|group| {
        let members = if group.name == EVERYONE {
            "all users".to_owned()
        } else {
            counted(group.members.len(), "member")
        };
        let grants = group.grants.join(", ");
        format!("{}  {members}  {grants}", group.name)
    });
    let chosen = list::choose_one("Choose a group", lines.collect()).await?;
    Ok(offered[chosen])
}

/// Lets the user choose among the users that are not members of the group yet. Says why it returns nothing.
pub(super) async fn new_members(
    group: &Group,
    users: &[User],
    interaction: Interaction,
) -> Result<Vec<String>, Stop> {
    if group.name == EVERYONE {
        let message = "every user is a member of the group `everyone`";
        return Err(CliError::new(Exit::Usage, message).into());
    }
    require_terminal(interaction, "no user was given", "vctl rbac users")?;
    let names = users.iter().map(|user| &user.display_name);
    let names: Vec<&String> = names.filter(|name| !group.members.contains(name)).collect();
    if names.is_empty() {
        notice::note(&format!(
            "all users with a recorded login are members of `{}` already; nothing changed",
            group.name
        ));
        return Ok(Vec::new());
    }
    let lines = names
        .iter()
        .map(|name| format!("{}  {name}", Person::new(name.as_str()).name()));
    let title = format!("Add users to {}", group.name);
    let chosen = list::choose_several(&title, lines.collect()).await?;
    if chosen.is_empty() {
        notice::note("no user was chosen with the space bar; nothing changed");
    }
    Ok(chosen
        .into_iter()
        .map(|index| names[index].clone())
        .collect())
}

/// Lets the user choose among the commands that the group does not have yet. Says why it returns nothing.
pub(super) async fn new_grants(
    group: &Group,
    interaction: Interaction,
) -> Result<Vec<Grant>, Stop> {
    require_terminal(
        interaction,
        "no command was given",
        "vctl rbac grant --help",
    )?;
    let names = grantable().into_iter();
    let names: Vec<&str> = names
        .filter(|name| !group.grants.iter().any(|grant| grant == name))
        .collect();
    if names.is_empty() {
        notice::note(&format!(
            "the group `{}` may run every command already; nothing changed",
            group.name
        ));
        return Ok(Vec::new());
    }
    let lines = names.iter().map(|name| match *name {
        "*" => "*  every command".to_owned(),
        name => name.to_owned(),
    });
    let title = format!("Grant commands to {}", group.name);
    let chosen = list::choose_several(&title, lines.collect()).await?;
    if chosen.is_empty() {
        notice::note("no command was chosen with the space bar; nothing changed");
    }
    let grants = chosen
        .into_iter()
        .filter_map(|index| names[index].parse().ok());
    Ok(grants.collect())
}

fn require_terminal(interaction: Interaction, what: &str, list: &str) -> Result<(), CliError> {
    interaction.require(what, &format!("give it on the command line: see `{list}`"))
}
