//! Decides where the stamp's line belongs in a service's own file. No I/O.

use super::stack::Module;

/// Session stacks that distributions share between services; pam_systemd.so is in them.
const SHARED: [&str; 6] = [
    "common-session",
    "password-auth",
    "system-auth",
    "system-login",
    "system-remote-login",
    "base-session",
];

/// Returns how many lines of the service's own file come before the stamp's line; `None` means all
/// lines.
///
/// After pam_loginuid.so and pam_systemd.so, which give the session its audit session id and its
/// cgroup; but before a module that lets users set the environment, which could forge the
/// certificate.
pub(super) fn lines_before(stack: &[Module]) -> Option<usize> {
    let is_shared = |module: &Module| {
        let name = module.file.rsplit('/').next().unwrap_or_default();
        module.included && SHARED.contains(&name)
    };
    let sets_up = |module: &&Module| {
        matches!(
            module.name.as_str(),
            "pam_loginuid.so" | "pam_systemd.so" | "pam_elogind.so"
        ) || is_shared(module)
    };
    let after = stack.iter().filter(sets_up);
    let after = after.map(|module| module.own_line.last).max();
    let users = stack.iter().find(|module| module.reads_users_environment());
    let before = users.map(|module| module.own_line.first - 1);
    match (after, before) {
        (Some(after), Some(before)) => Some(after.min(before)),
        (Some(line), None) | (None, Some(line)) => Some(line),
        (None, None) => stack.iter().map(|module| module.own_line.last).max(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::PamFiles;
    use super::super::stack::session_stack;
    use super::*;

    const WITH_SYSTEMD: &str = "-session optional pam_systemd.so\n";

    #[test]
    fn the_line_stands_behind_what_sets_the_session_up() {
        let cases = [
            // Debian.
            (
                "session required pam_loginuid.so\n@include common-session\nsession optional pam_motd.so\nsession required pam_env.so user_readenv=1\n",
                Some(2),
            ),
            // RHEL.
            (
                "auth substack password-auth\nsession required pam_selinux.so open env_params\nsession required pam_loginuid.so\nsession include password-auth\nsession include postlogin\n",
                Some(4),
            ),
            (
                "session substack password-auth\nsession required pam_loginuid.so\n",
                Some(2),
            ),
            // Continued over two lines.
            (
                "session \\\n include password-auth\nsession optional pam_motd.so\n",
                Some(2),
            ),
            // Debian's cron, and its `systemd --user`.
            (
                "@include common-auth\nsession required pam_loginuid.so\nsession required pam_env.so\n@include common-session-noninteractive\nsession required pam_limits.so\n",
                Some(2),
            ),
            (
                "session required pam_selinux.so close\nsession required pam_loginuid.so\n@include common-session-noninteractive\nsession optional pam_systemd.so\n",
                Some(4),
            ),
            // RHEL's atd.
            (
                "session required pam_loginuid.so\nsession include password-auth\n",
                Some(2),
            ),
            // The module that lets users set the environment comes too early. The certificate
            // matters more.
            (
                "session required pam_env.so user_readenv=1\n@include common-session\n",
                Some(0),
            ),
            (
                "session required pam_unix.so\naccount required pam_unix.so\n",
                Some(1),
            ),
            ("auth required pam_unix.so\n", None),
        ];
        for (sshd, expected) in cases {
            let files = PamFiles::of(&[
                ("sshd", sshd),
                ("common-session", WITH_SYSTEMD),
                ("password-auth", WITH_SYSTEMD),
                ("postlogin", "session optional pam_lastlog.so\n"),
            ]);
            let stack = session_stack(&files, "sshd").unwrap();
            assert_eq!(lines_before(&stack), expected, "{sshd}");
        }
    }
}
