//! Ways past a module of a stack: jumps such as `[success=1 default=ignore]`, and controls that end the stack early. No
//! I/O.

use super::stack::Module;

/// Returns the module that jumps over the place before module `next`, and does not end there.
pub(super) fn jumps_into(stack: &[Module], next: usize) -> Option<&Module> {
    let mut before = stack.iter().take(next).enumerate();
    let jumps_over = |(index, module): &(usize, &Module)| {
        let mut jumps = module.jumps();
        jumps.any(|count| {
            // One that is too long today, and fails, may have an end with one more module.
            last_skipped(stack, *index, count).map_or(module.level == 0, |last| last >= next)
        })
    };
    before.find(jumps_over).map(|(_, module)| module)
}

/// Returns the module above the stamp with which PAM can open the session and skip the stamp. A break-glass line, which is
/// directly above the stamp and skips only the stamp, is none.
pub fn skips_stamp(stack: &[Module], stamp: usize) -> Option<&Module> {
    let mut before = stack.iter().take(stamp).enumerate();
    let skips = |(index, module): &(usize, &Module)| {
        let ends = module.ends_stack() && last_of_level(stack, *index) >= stamp;
        let mut jumps = module.jumps();
        ends || jumps.any(|count| {
            let is_over = last_skipped(stack, *index, count).is_some_and(|last| last >= stamp);
            is_over && !(count == 1 && index + 1 == stamp)
        })
    };
    before.find(skips).map(|(_, module)| module)
}

/// Returns the break-glass lines: directly above the stamp, with a jump over the stamp only. They are removed together
/// with it, because they would skip the next module.
///
/// # Errors
/// Another module that jumps over the stamp.
pub(super) fn break_glass(stack: &[Module]) -> Result<Vec<&Module>, &Module> {
    let mut found = Vec::new();
    let is_stamp = |(_, module): &(usize, &Module)| module.is_stamp() && !module.included;
    for (stamp, _) in stack.iter().enumerate().filter(is_stamp) {
        for (index, module) in stack.iter().enumerate().take(stamp) {
            let stays_above =
                |count| last_skipped(stack, index, count).is_none_or(|last| last < stamp);
            if module.jumps().all(stays_above) {
                continue;
            }
            let is_next = index + 1 == stamp && !module.included;
            if !is_next || module.jumps().any(|skipped| skipped != 1) {
                return Err(module);
            }
            found.push(module);
        }
    }
    Ok(found)
}

/// Returns the last module that a jump of the module at `index` skips. A substack counts as one module. `None` if the
/// level has fewer modules: then PAM fails the stack. Source: `_pam_dispatch_aux` of Linux-PAM's `pam_dispatch.c`.
fn last_skipped(stack: &[Module], index: usize, count: usize) -> Option<usize> {
    let level = stack[index].level;
    let mut last = index;
    for _ in 0..count {
        stack.get(last + 1).filter(|next| next.level >= level)?;
        last += 1;
        while stack.get(last + 1).is_some_and(|next| next.level > level) {
            last += 1;
        }
    }
    Some(last)
}

/// Returns the last module of the substack, or of the whole stack, in which the module at `index` is.
fn last_of_level(stack: &[Module], index: usize) -> usize {
    let level = stack[index].level;
    let mut rest = stack[index..].iter();
    index
        + rest
            .position(|module| module.level < level)
            .unwrap_or(stack.len() - index)
        - 1
}

#[cfg(test)]
mod tests {
    use super::super::files::PamFiles;
    use super::super::stack::session_stack;
    use super::*;

    const STAMP: &str =
        "session required pam_exec.so type=open_session /usr/sbin/vctl-agent stamp\n";

    fn skips(before: &str, common: &str) -> Option<String> {
        let sshd = format!("{before}{STAMP}session optional pam_motd.so\n");
        let common = common.replace("STAMP\n", STAMP);
        let sshd = if common.contains(STAMP) {
            before.to_owned()
        } else {
            sshd
        };
        let files = PamFiles::of(&[("sshd", &sshd), ("common", &common)]);
        let stack = session_stack(&files, "sshd").unwrap();
        let stamp = stack.iter().position(Module::is_stamp).unwrap();
        skips_stamp(&stack, stamp).map(Module::place)
    }

    #[test]
    fn each_way_past_the_stamp_is_found() {
        let sshd_1 = Some("/etc/pam.d/sshd line 1".to_owned());
        let common_1 = Some("/etc/pam.d/common line 1".to_owned());
        let rule = "pam_succeed_if.so quiet user = backup\n";
        for control in [
            "sufficient",
            "Sufficient",
            "[success=done default=ignore]",
            "[default=done]",
            "[success=2 default=ignore]",
            "[success = 2 default = ignore]",
            "[success=ok default=2]",
        ] {
            let own = format!("session {control} {rule}session optional pam_a.so\n");
            assert_eq!(skips(&own, ""), sshd_1, "{control}");
        }
        for control in ["sufficient", "[success=done default=ignore]"] {
            let shared = format!("session {control} {rule}");
            for include in ["@include common\n", "session include common\n"] {
                assert_eq!(skips(include, &shared), common_1, "{include}");
            }
            // It ends only the substack.
            assert_eq!(skips("session substack common\n", &shared), None);
            let shared = format!("{shared}STAMP\n");
            assert_eq!(skips("session substack common\n", &shared), common_1);
        }
        // A substack is one module to skip, and a jump inside it does not leave it.
        let shared =
            format!("session [success=2 default=ignore] {rule}session optional pam_a.so\n");
        assert_eq!(skips("session substack common\n", &shared), None);
        assert_eq!(skips("session include common\n", &shared), common_1);
        let own = format!("session [success=2 default=ignore] {rule}session substack common\n");
        assert_eq!(skips(&own, &shared), sshd_1);
    }

    #[test]
    fn stacks_of_distributions_and_break_glass_pass() {
        for stack in [
            "session [default=1] pam_permit.so\nsession requisite pam_deny.so\nsession required pam_permit.so\n",
            "session [success=1 default=ignore] pam_succeed_if.so service in crond quiet use_uid\nsession required pam_unix.so\n",
            "session [success=ok ignore=ignore module_unknown=ignore default=bad] pam_selinux.so close\n",
            "session [success=1 default=ignore] pam_succeed_if.so quiet user ingroup ops\n",
            "session requisite pam_nologin.so\n-session optional pam_systemd.so\n",
            "session [success=9 default=ignore] pam_a.so\n",
        ] {
            assert_eq!(skips(stack, ""), None, "{stack}");
        }
        let group =
            "session [success=1 default=ignore] pam_succeed_if.so quiet user ingroup ops\nSTAMP\n";
        assert_eq!(skips("session substack common\n", group), None);
    }
}
