//! Files of the repository that setup writes where no package has installed them.

/// A unit, and the path at which a package installs it.
pub(super) struct Unit {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
}

pub(super) const COLLECT: Unit = Unit {
    name: "vctl-collect.service",
    text: include_str!("../../../deploy/audit/systemd/vctl-collect.service"),
};

pub(super) const NODE: Unit = Unit {
    name: "vctl-node-agent.service",
    text: include_str!("../../../deploy/node/systemd/vctl-node-agent.service"),
};

/// Makes the collector ship to the central store.
pub(super) const CENTRE_CONF: &str =
    include_str!("../../../deploy/audit/systemd/vctl-collect.service.d/centre.conf");

pub(super) const TMPFILES_FILE: &str = "/etc/tmpfiles.d/vctl.conf";
pub(super) const TMPFILES: &str = include_str!("../../../deploy/audit/tmpfiles.d/vctl.conf");

/// Directories of the tmpfiles.d file, for a host on which it has not been applied yet.
pub(super) const DIRECTORIES: [(&str, u32); 4] = [
    ("/var/lib/vctl", 0o700),
    ("/var/lib/vctl/spool", 0o700),
    ("/var/lib/vctl/pending", 0o700),
    ("/run/vctl", 0o755),
];

/// Included before the lines of sshd_config, so this value wins.
pub(super) const SSHD_SNIPPET_FILE: &str = "/etc/ssh/sshd_config.d/00-vctl.conf";
pub(super) const SSHD_SNIPPET: &str =
    include_str!("../../../deploy/audit/sshd_config.d/00-vctl.conf");

pub(super) const AGENT: &str = "/usr/sbin/vctl-agent";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setup_creates_the_directories_of_the_tmpfiles_file() {
        let lines = TMPFILES.lines().filter(|line| line.starts_with("d "));
        let named: Vec<_> = lines
            .map(|line| {
                let fields: Vec<_> = line.split_whitespace().collect();
                (fields[1], u32::from_str_radix(fields[2], 8).unwrap())
            })
            .collect();
        let mut ours = DIRECTORIES.to_vec();
        ours.rotate_right(1);
        assert_eq!(named, ours);
    }
}
