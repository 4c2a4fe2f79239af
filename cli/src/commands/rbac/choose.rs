//! Choices on a terminal for `vctl rbac`: a group, then users or commands.

use vctl_common::person::Person;

use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::inventory::picker::list;
use crate::rbac::caller::EVERYONE;
use crate::rbac::command::grantable;
use crate::rbac::model::{Group, User};
use crate::rbac::scope::Grant;
use crate::ui::ask::Interaction;

/// Returns the group of the command line, or the one that the user chooses.
pub(super) async fn group<'a>(
    given: Option<&str>,
    groups: &'a [Group],
    interaction: Interaction,
) -> Result<&'a Group, Stop> {
    if let Some(name) = given {
        let found = groups.iter().find(|group| group.name == name);
        let missing = || super::no_group(format!("there is no group `{name}`"), groups);
        return Ok(found.ok_or_else(missing)?);
    }
    require_terminal(interaction, "no group was given", "vctl rbac group list")?;
    let lines = groups.iter().map(|group| {
        let members = group.members.len();
        format!(
            "{}  {members} members  {}",
            group.name,
            group.grants.join(", ")
        )
    });
    let chosen = list::choose_one("Choose a group", lines.collect()).await?;
    Ok(&groups[chosen])
}

/// Lets the user choose among the users that are not members of the group yet.
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
    let lines = names
        .iter()
        .map(|name| format!("{}  {name}", Person::new(name.as_str()).name()));
    let title = format!("Add users to {}", group.name);
    let chosen = list::choose_several(&title, lines.collect()).await?;
    Ok(chosen
        .into_iter()
        .map(|index| names[index].clone())
        .collect())
}

/// Lets the user choose among the commands that the group does not have yet.
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
    let lines = names.iter().map(|name| match *name {
        "*" => "*  every command".to_owned(),
        name => name.to_owned(),
    });
    let title = format!("Grant commands to {}", group.name);
    let chosen = list::choose_several(&title, lines.collect()).await?;
    let grants = chosen
        .into_iter()
        .filter_map(|index| names[index].parse().ok());
    Ok(grants.collect())
}

fn require_terminal(interaction: Interaction, what: &str, list: &str) -> Result<(), CliError> {
    interaction.require(what, &format!("give it on the command line: see `{list}`"))
}
