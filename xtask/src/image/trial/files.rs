//! The files that make a host record, to compare hosts that were made in different ways.

use anyhow::{Result, ensure};

use crate::boot::guest::Guest;

/// Prints mode, owner, path, and the target of a link or the digest of a file.
///
/// Without the files that every host has for itself: host keys, the secret id, the journal of the setup and the records.
/// The image alone has the network, and the stock Debian has cloud-init.
const LIST: &str = r#"cd /
{
    find etc/ssh etc/pam.d/sshd etc/pam.d/common-session etc/vctl etc/tmpfiles.d usr/lib/tmpfiles.d/vctl.conf \
        usr/sbin/vctl-agent var/lib/vctl -maxdepth 2 ! -name 'ssh_host_*' ! -path 'var/lib/vctl/*/*' ! -name 'collector.json' -print
    find etc/systemd/system usr/lib/systemd/system -name '*vctl*' -print
    find etc/systemd/system/vctl-collect.service.d -print
} | sort -u | while read -r path; do
    stat -c '%A %U:%G %n' "$path" | tr '\n' ' '
    if [ -L "$path" ]; then readlink "$path"
    elif [ -f "$path" ] && [ "$path" != etc/vctl/secret_id ]; then sha256sum < "$path"
    else echo -; fi
done"#;

pub(super) fn of(guest: &Guest) -> Result<Vec<String>> {
    let listed = guest.run(LIST)?;
    Ok(listed.lines().map(str::to_owned).collect())
}

/// Refuses a host whose files differ from those of the image.
pub(super) fn same(image: &[String], host: &[String]) -> Result<()> {
    let only = |these: &[String], others: &[String], name: &str| -> Vec<String> {
        let missing = these.iter().filter(|line| !others.contains(line));
        missing.map(|line| format!("only {name}: {line}")).collect()
    };
    let differences = [
        only(image, host, "in the image"),
        only(host, image, "on this host"),
    ]
    .concat();
    ensure!(
        differences.is_empty(),
        "the files differ:\n{}",
        differences.join("\n")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_mode_is_a_difference() {
        let image = ["-rw-r--r-- root:root etc/vctl/agent.yaml 0a".to_owned()];
        same(&image, &image).unwrap();
        let host = ["-rw-rw-r-- root:root etc/vctl/agent.yaml 0a".to_owned()];
        let differs = same(&image, &host).unwrap_err().to_string();
        assert!(
            differs.contains("only in the image: -rw-r--r--"),
            "{differs}"
        );
        assert!(
            differs.contains("only on this host: -rw-rw-r--"),
            "{differs}"
        );
    }
}
