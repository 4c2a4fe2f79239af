//! The gated commands, and the class of every other command.

/// A command that needs a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GatedCommand {
    Ssh,
    Exec,
    Sync,
    Prune,
    TrustCa,
}

impl GatedCommand {
    pub(crate) const ALL: [Self; 5] = [
        Self::Ssh,
        Self::Exec,
        Self::Sync,
        Self::Prune,
        Self::TrustCa,
    ];

    /// Returns the name on the command line and in a grant.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::Exec => "exec",
            Self::Sync => "sync",
            Self::Prune => "prune",
            Self::TrustCa => "trust-ca",
        }
    }

    /// Returns the command with this name, also for commands that log in to hosts as `vctl ssh` does.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        if matches!(name, "proxy" | "ssh-agent") {
            return Some(Self::Ssh);
        }
        Self::ALL.into_iter().find(|command| command.name() == name)
    }
}

/// The rule for a command, besides its rights in Vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommandClass {
    /// vctl checks nothing.
    Ungated,
    /// Only reads: allowed to every user.
    Read,
    /// Needs a grant, or an admin policy.
    Gated(GatedCommand),
    /// Needs an admin policy.
    Admin,
}

/// Returns the class of a command of vctl, with or without its subcommands.
pub(crate) fn class_of(name: &str) -> CommandClass {
    match name {
        "rbac check" | "rbac group list" | "rbac group show" | "rbac log" | "rbac users"
        | "rbac whoami" => return CommandClass::Read,
        "session end" => return CommandClass::Ungated,
        _ => {}
    }
    match name.split(' ').next().unwrap_or(name) {
        "list" | "status" | "audit" | "session" | "fleet" | "retention" | "cache" => {
            CommandClass::Read
        }
        "rbac" => CommandClass::Admin,
        name => GatedCommand::of_name(name).map_or(CommandClass::Ungated, CommandClass::Gated),
    }
}

/// Returns the commands of a grant, for errors: `*`, and the names of the gated commands.
pub(crate) fn grantable() -> Vec<&'static str> {
    let names = GatedCommand::ALL.into_iter().map(GatedCommand::name);
    ["*"].into_iter().chain(names).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_log_in_to_hosts_need_the_grant_of_ssh() {
        for name in ["ssh", "proxy", "ssh-agent"] {
            assert_eq!(class_of(name), CommandClass::Gated(GatedCommand::Ssh));
        }
        for name in ["token", "agent", "login", "ssh-config", "migrate"] {
            assert_eq!(class_of(name), CommandClass::Ungated, "{name}");
        }
        for name in ["list", "session search", "rbac whoami", "rbac group list"] {
            assert_eq!(class_of(name), CommandClass::Read, "{name}");
        }
        for name in ["rbac", "rbac grant", "rbac group create"] {
            assert_eq!(class_of(name), CommandClass::Admin, "{name}");
        }
        assert_eq!(class_of("session end"), CommandClass::Ungated);
    }

    #[test]
    fn each_gated_command_is_found_by_its_name() {
        for command in GatedCommand::ALL {
            assert_eq!(GatedCommand::of_name(command.name()), Some(command));
        }
        assert_eq!(grantable().len(), GatedCommand::ALL.len() + 1);
    }
}
