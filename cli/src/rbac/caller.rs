//! The grants of the user of this command.

use jiff::Timestamp;

use super::command::GatedCommand;
use super::scope::{Grant, Scope, Target};
use crate::login::own_grants::OwnGrant;

/// Group of which every user is a member.
pub(crate) const EVERYONE: &str = "everyone";

/// A grant, and the group that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupGrant {
    pub(crate) group: String,
    pub(crate) grant: Grant,
}

/// The groups of a user and their grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallerGrants {
    /// All groups of the user, also those without a grant.
    pub(crate) groups: Vec<String>,
    pub(crate) grants: Vec<GroupGrant>,
    /// Time of the last confirmation by Postgres, for cached grants; `None` for grants that were just read.
    pub(crate) confirmed_at: Option<Timestamp>,
}

impl CallerGrants {
    pub(crate) fn of(rows: Vec<OwnGrant>) -> Self {
        let mut grants = Self::default();
        for OwnGrant { group, grant } in rows {
            grants.add(group, grant.as_deref());
        }
        grants
    }

    /// Adds a row of the database. A grant that this version of vctl cannot read permits nothing.
    pub(crate) fn add(&mut self, group: String, grant: Option<&str>) {
        if let Some(Ok(grant)) = grant.map(str::parse) {
            self.grants.push(GroupGrant {
                group: group.clone(),
                grant,
            });
        }
        if !self.groups.contains(&group) {
            self.groups.push(group);
        }
    }

    /// Returns the first grant that permits a command, on this target if the command has one.
    pub(crate) fn permitting(
        &self,
        command: GatedCommand,
        target: Option<&Target<'_>>,
    ) -> Option<&GroupGrant> {
        self.grants
            .iter()
            .find(|one| one.grant.permits(command.name(), target))
    }

    /// Returns the scopes of all grants that permit a command on this target.
    pub(crate) fn covering(
        &self,
        command: GatedCommand,
        target: &Target<'_>,
    ) -> impl Iterator<Item = &Scope> {
        let grants = self.grants.iter().map(|one| &one.grant);
        let permitting = grants.filter(move |grant| grant.permits(command.name(), Some(target)));
        permitting.map(|grant| &grant.scope)
    }

    /// Returns the grants for this command that are narrowed to some targets.
    pub(crate) fn narrowed(&self, command: GatedCommand) -> impl Iterator<Item = &GroupGrant> {
        self.grants
            .iter()
            .filter(move |one| one.grant.command == command.name())
            .filter(|one| !one.grant.scope.is_everything())
    }

    /// Returns the groups that an administrator chose for this user.
    pub(crate) fn own_groups(&self) -> impl Iterator<Item = &String> {
        self.groups.iter().filter(|group| *group != EVERYONE)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn grants(rows: &[(&str, Option<&str>)]) -> CallerGrants {
        let mut grants = CallerGrants::default();
        for (group, grant) in rows {
            grants.add((*group).to_owned(), *grant);
        }
        grants
    }

    #[test]
    fn a_command_needs_its_own_grant_or_a_star() {
        let none = grants(&[("everyone", None), ("devs", None)]);
        let ssh = grants(&[("devs", Some("ssh"))]);
        let all = grants(&[("everyone", Some("*"))]);
        for command in GatedCommand::ALL {
            assert!(none.permitting(command, None).is_none());
            assert!(all.permitting(command, None).is_some());
            let is_ssh = command == GatedCommand::Ssh;
            assert_eq!(ssh.permitting(command, None).is_some(), is_ssh);
        }
        assert_eq!(none.groups, ["everyone", "devs"]);
        assert_eq!(none.own_groups().collect::<Vec<_>>(), ["devs"]);
    }

    #[test]
    fn a_narrowed_grant_permits_its_targets_alone() {
        let grants = grants(&[("devs", Some("ssh:dc=seoul,user=root"))]);
        let target = |dc, user| Target {
            dc,
            host: "web-1",
            user,
        };
        let may = |to: Option<&Target<'_>>| grants.permitting(GatedCommand::Ssh, to).is_some();
        assert!(may(Some(&target("seoul", "root"))));
        assert!(!may(Some(&target("seoul", "ubuntu"))));
        assert!(!may(Some(&target("busan", "root"))));
        assert!(!may(None));
        assert_eq!(grants.narrowed(GatedCommand::Ssh).count(), 1);
    }

    #[test]
    fn an_unreadable_grant_permits_nothing() {
        for text in ["ssh:moon=full", "ssh:", "", "ssh:dc=a:b", "SSH"] {
            let grants = grants(&[("devs", Some(text))]);
            for command in GatedCommand::ALL {
                assert!(grants.permitting(command, None).is_none(), "{text}");
            }
        }
    }
}
