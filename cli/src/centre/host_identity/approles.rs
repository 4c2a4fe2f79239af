//! The AppRoles of many hosts, read with one list.

use std::collections::{BTreeMap, BTreeSet};

use vctl_common::enrolment::Enrolment;
use vctl_common::host::HostName;
use vctl_common::vault::{Vault, VaultError};

use super::HostIdentity;

/// Returns the AppRoles of these hosts, by host. AppRoles of users, jobs and other hosts are left out.
pub(crate) async fn approles(
    vault: &Vault,
    approle_mount: &str,
    hosts: &BTreeSet<HostName>,
) -> Result<BTreeMap<HostName, Vec<String>>, VaultError> {
    let mut found: BTreeMap<HostName, Vec<String>> = BTreeMap::new();
    let Some(first) = hosts.first() else {
        return Ok(found);
    };
    let any = HostIdentity {
        vault,
        approle_mount,
        host: first,
    };
    for approle in any.list(&any.approle_list()).await? {
        let whole: Option<HostName> = approle.parse().ok().filter(|host| hosts.contains(host));
        let part = Enrolment::host_part(&approle).and_then(|host| host.parse().ok());
        let part: Option<HostName> = part.filter(|host| hosts.contains(host));
        let host = match (whole, part) {
            (None, None) => continue,
            (Some(host), None) | (None, Some(host)) => host,
            (Some(whole), Some(part)) => {
                let identity = HostIdentity { host: &part, ..any };
                match Enrolment::of_host(&part, &approle) {
                    Some(enrolment) if !identity.belongs_to_another_host(&enrolment).await? => part,
                    _ => whole,
                }
            }
        };
        if !host.as_str().starts_with("vctl-") {
            found.entry(host).or_default().push(approle);
        }
    }
    Ok(found)
}
