//! Check: does the token have the policies that the commands need?

use vctl_common::vault::VaultError;

use super::CheckResult;
use super::token::Session;
use crate::centre::capabilities::{Need, ask};
use crate::exit_code::Exit;

pub(crate) async fn check(needs: &[Need], session: &Session) -> CheckResult<()> {
    match ask(needs, &session.vault).await {
        Ok(allowed) => judge(needs, &allowed, &session.info.policies),
        // A token without the policy `default` may not read its capabilities; it may still work.
        Err(VaultError::Denied { .. }) => CheckResult::warn(
            "Vault does not let this token read its own capabilities",
            "add the policy `default` to the token",
            (),
        ),
        Err(error) => CheckResult::failed(error),
    }
}

fn judge(needs: &[Need], allowed: &[bool], policies: &[String]) -> CheckResult<()> {
    let missing: Vec<&Need> = needs
        .iter()
        .zip(allowed)
        .filter_map(|(need, allowed)| (!allowed).then_some(need))
        .collect();
    // The token has this policy, but the policy does not allow the path: the settings are wrong, not the token.
    let holds = |need: &&&Need| policies.contains(&need.policy);
    if let Some(need) = missing.iter().find(holds) {
        let found = format!(
            "the policy `{}` does not allow `{}`",
            need.policy, need.path
        );
        let fix = "the role may have another name in Vault: compare the settings with `vault list database/roles` \
                   and `vault policy read POLICY`";
        return CheckResult::fail(Exit::Config, found, fix);
    }
    if let (Some(need), Some(false)) = (needs.first(), allowed.first()) {
        let found = format!("this token may not read `{}`", need.path);
        let fix = format!(
            "ask an administrator of Vault for the policy `{}`, then log in again",
            need.policy
        );
        return CheckResult::fail(Exit::Permission, found, fix);
    }
    let list = |wanted: bool| -> Vec<&str> {
        let fitting = needs
            .iter()
            .zip(allowed)
            .filter(|(_, allowed)| **allowed == wanted);
        fitting.map(|(need, _)| need.commands).collect()
    };
    let mut found = format!("enough for {}", list(true).join(", "));
    if !missing.is_empty() {
        found.push_str("; not for ");
        found.push_str(&list(false).join(", "));
    }
    CheckResult::pass(found, ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(commands: &'static str, policy: &str) -> Need {
        Need {
            commands,
            path: format!("database/creds/{commands}"),
            capability: "read",
            policy: policy.to_owned(),
        }
    }

    fn judged(allowed: [bool; 2], policies: &[&str]) -> CheckResult<()> {
        let needs = [need("fleet", "vctl-user"), need("audit", "vctl-auditor")];
        let policies: Vec<String> = policies.iter().map(|&policy| policy.to_owned()).collect();
        judge(&needs, &allowed, &policies)
    }

    #[test]
    fn missing_auditor_policy_is_not_a_fault() {
        let CheckResult::Pass { found, .. } = judged([true, false], &["vctl-user"]) else {
            panic!("not well");
        };
        assert_eq!(found, "enough for fleet; not for audit");
    }

    #[test]
    fn missing_basic_policy_fails_with_its_name() {
        let CheckResult::Fail { exit, fix, .. } = judged([false, false], &["default"]) else {
            panic!("well");
        };
        assert_eq!(exit, Exit::Permission);
        assert!(fix.unwrap().contains("`vctl-user`"));
    }

    #[test]
    fn policy_that_does_not_allow_its_path_is_a_config_fault() {
        for (allowed, path) in [
            ([false, true], "creds/fleet"),
            ([true, false], "creds/audit"),
        ] {
            let finding = judged(allowed, &["vctl-user", "vctl-auditor"]);
            let CheckResult::Fail { exit, found, .. } = finding else {
                panic!("{finding:?}");
            };
            assert_eq!(exit, Exit::Config);
            assert!(found.contains(path), "{found}");
        }
    }
}
