//! The gate: decides whether the user may run a gated command, before the command does anything.
//!
//! In this order: a grant allows; an admin policy in Vault allows; everything else is refused. Vault is asked for the
//! policies only if no grant allows, so that an allowed command costs no request.

use vctl_common::person::Person;
use vctl_common::vault::TokenInfo;

use super::caller::CallerGrants;
use super::command::GatedCommand;
use super::lookup::LookedUpGrants;
use super::scope::Target;
use crate::centre::context::Context;
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::ui::sanitize;

/// Policies of Vault whose users need no grant: an administrator cannot lock out all administrators.
pub(crate) const ADMIN_POLICIES: [&str; 3] = ["vctl-admin", "sre-admin", "root"];

/// Returns the first admin policy of a token.
pub(crate) fn admin_policy(info: &TokenInfo) -> Option<&'static str> {
    ADMIN_POLICIES
        .into_iter()
        .find(|admin| info.policies.iter().any(|policy| policy == admin))
}

/// Checks that the user may run a command, on this target if the command has one.
///
/// # Errors
/// No grant covers it and the user has no admin policy; or the grants or policies cannot be looked up.
pub(crate) async fn require(
    context: &Context,
    command: GatedCommand,
    target: Option<&Target<'_>>,
    grants: LookedUpGrants,
) -> Result<(), CliError> {
    if let Ok(grants) = &grants
        && grants.permitting(command, target).is_some()
    {
        return Ok(());
    }
    let info = context.vault().lookup_self().await.map_err(|error| {
        let error = CliError::from(error);
        refused_since(
            command,
            "the policies of this token cannot be looked up",
            error,
        )
    })?;
    if admin_policy(&info).is_some() {
        return Ok(());
    }
    match grants {
        Ok(grants) => Err(denied(command, target, &grants, &info.display_name)),
        Err(error) => Err(refused_since(
            command,
            "the grants of this user cannot be looked up",
            error,
        )),
    }
}

/// Checks that the user may change groups and grants.
///
/// # Errors
/// The user has no admin policy, or the policies cannot be looked up.
pub(crate) async fn require_admin(context: &Context, what: &str) -> Result<(), CliError> {
    let info = context.vault().lookup_self().await?;
    if admin_policy(&info).is_some() {
        return Ok(());
    }
    let user = Person::new(&*info.display_name);
    let user = sanitize::text(user.name());
    let message =
        format!("`{user}` may not run `vctl {what}`: only a user with an admin policy may");
    Err(CliError::new(Exit::Permission, message).hint(ask_for_admin_policy()))
}

pub(crate) fn ask_for_admin_policy() -> &'static str {
    "the administrators of Vault can give the policy `vctl-admin`"
}

fn refused_since(command: GatedCommand, why: &str, error: CliError) -> CliError {
    let message = format!("`vctl {}` is refused: {why}", command.name());
    let mut refused = CliError::new(error.exit, message);
    refused.causes = [error.message].into_iter().chain(error.causes).collect();
    refused.hint = error.hint;
    refused
}

/// Returns the refusal, with the line that an administrator can run.
fn denied(
    command: GatedCommand,
    target: Option<&Target<'_>>,
    grants: &CallerGrants,
    display_name: &str,
) -> CliError {
    let reason = missing(command, target, grants);
    let user = sanitize::text(Person::new(display_name).name());
    let on = target.map_or_else(String::new, |to| {
        let (host, user) = (sanitize::text(to.host), sanitize::text(to.user));
        format!(" on `{host}` as `{user}`")
    });
    let message = format!(
        "`{user}` may not run `vctl {}`{on}: {reason}",
        command.name()
    );
    CliError::new(Exit::Permission, message).hint(how_to_allow(command, grants, display_name))
}

/// Returns the reason why no grant allows a command.
pub(crate) fn missing(
    command: GatedCommand,
    target: Option<&Target<'_>>,
    grants: &CallerGrants,
) -> String {
    let narrowed: Vec<String> = grants
        .narrowed(command)
        .map(|one| format!("`{}` (group `{}`)", one.grant, sanitize::text(&one.group)))
        .collect();
    if narrowed.is_empty() {
        format!("no group of this user has the grant `{}`", command.name())
    } else if target.is_some() {
        format!(
            "the grants of this user do not cover it: {}",
            narrowed.join(", ")
        )
    } else {
        format!(
            "the grants of this user cover only some hosts: {}",
            narrowed.join(", ")
        )
    }
}

/// Returns the command of an administrator that allows a command.
pub(crate) fn how_to_allow(
    command: GatedCommand,
    grants: &CallerGrants,
    display_name: &str,
) -> String {
    let name = command.name();
    match grants.own_groups().next() {
        Some(group) => format!(
            "an administrator can allow it: `vctl rbac grant {} {name}`",
            sanitize::text(group)
        ),
        None => format!(
            "an administrator can allow it: `vctl rbac grant GROUP {name}`, and `vctl rbac member add GROUP {}`",
            sanitize::text(display_name)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::caller::tests::grants;
    use super::*;

    const WEB: Target<'_> = Target {
        dc: "busan",
        host: "web-1",
        user: "root",
    };

    #[test]
    fn a_refusal_has_the_line_that_an_administrator_runs() {
        let of = |rows: &[(&str, Option<&str>)], target| {
            let error = denied(GatedCommand::Ssh, target, &grants(rows), "oidc-albert");
            assert_eq!(error.exit, Exit::Permission);
            (error.message, error.hint.unwrap())
        };
        let (message, hint) = of(&[("everyone", None)], Some(&WEB));
        assert_eq!(
            message,
            "`albert` may not run `vctl ssh` on `web-1` as `root`: no group of this user has the grant `ssh`"
        );
        assert!(hint.contains("`vctl rbac grant GROUP ssh`"), "{hint}");
        assert!(
            hint.contains("`vctl rbac member add GROUP oidc-albert`"),
            "{hint}"
        );
        let (message, hint) = of(&[("devs", Some("ssh:dc=seoul"))], Some(&WEB));
        assert!(
            message.ends_with(
                "the grants of this user do not cover it: `ssh:dc=seoul` (group `devs`)"
            ),
            "{message}"
        );
        assert!(hint.ends_with("`vctl rbac grant devs ssh`"), "{hint}");
    }

    #[test]
    fn a_refusal_escapes_hostile_names() {
        let row = [("everyone", None)];
        let error = denied(GatedCommand::Exec, None, &grants(&row), "oidc-\u{1b}[31m\n");
        let hint = error.hint.unwrap();
        assert!(!error.message.contains(char::is_control));
        assert!(!hint.contains(char::is_control), "{hint:?}");
    }
}
