//! Which host a word means.

use std::net::IpAddr;

use super::{Host, HostState};

/// Returns all hosts of the first step that finds any: the whole name, an address that its operators gave
/// it, one that its agent reported, a part of the name. So no host gets what is meant for another by
/// reporting its address.
///
/// A retired host is meant by its whole name only: its address may be somebody else's by now. As
/// `store/inventory_find.sql`, for hosts that were kept.
pub(crate) fn resolve<'a>(hosts: &'a [Host], query: &str) -> Vec<&'a Host> {
    let name = query.to_lowercase();
    if let Some(exact) = hosts.iter().find(|host| host.name == name) {
        return vec![exact];
    }
    let in_use = hosts.iter().filter(|host| host.state != HostState::Retired);
    match address(query) {
        Some(ip) => {
            let given: Vec<&Host> = in_use.clone().filter(|host| host.was_given(ip)).collect();
            if !given.is_empty() {
                return given;
            }
            in_use
                .filter(|host| host.observed_ips.contains(&ip))
                .collect()
        }
        None => in_use.filter(|host| host.name.contains(&name)).collect(),
    }
}

/// Returns the address that a word is. An IPv4 address in IPv6 clothes is the IPv4 address.
pub(crate) fn address(query: &str) -> Option<IpAddr> {
    query.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

impl Host {
    /// Says whether its operators say that it has this address.
    fn was_given(&self, ip: IpAddr) -> bool {
        self.ip == ip || self.extra_ips.contains(&ip)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::host;
    use super::*;

    fn inventory() -> Vec<Host> {
        let ip = |text: &str| text.parse().unwrap();
        let mut hosts = ["web", "web-1", "web_2", "db-1", "10.0.0.9", "old-web"].map(host);
        for (index, host) in hosts.iter_mut().enumerate() {
            host.ip = ip(&format!("192.0.2.{}", index + 1));
        }
        hosts[1].extra_ips = vec![ip("10.0.0.1"), ip("10.0.0.9")];
        hosts[2].observed_ips = vec![ip("2001:db8::2")];
        hosts[5].state = HostState::Retired;
        // What they report is of others.
        hosts[3].observed_ips = vec![ip("192.0.2.1"), ip("10.0.0.1"), ip("192.0.2.6")];
        hosts.into()
    }

    fn names(query: &str) -> Vec<String> {
        let hosts = inventory();
        let found = resolve(&hosts, query);
        found.iter().map(|host| host.name.clone()).collect()
    }

    #[test]
    fn the_first_step_that_finds_something_decides() {
        assert_eq!(names("web"), ["web"]);
        assert_eq!(names("WEB-1"), ["web-1"]);
        assert_eq!(names("10.0.0.9"), ["10.0.0.9"]);
        assert_eq!(names("192.0.2.4"), ["db-1"]);
        assert_eq!(names("10.0.0.1"), ["web-1"]);
        assert_eq!(names("2001:DB8:0::2"), ["web_2"]);
        assert_eq!(names("::ffff:192.0.2.4"), ["db-1"]);
        assert_eq!(names("Eb-1"), ["web-1"]);
        assert_eq!(names("eb"), ["web", "web-1", "web_2"]);
    }

    #[test]
    fn a_reported_address_takes_nothing_from_its_owner() {
        assert_eq!(names("192.0.2.1"), ["web"]);
        assert_eq!(names("10.0.0.1"), ["web-1"]);
        assert_eq!(names("::ffff:10.0.0.1"), ["web-1"]);
    }

    #[test]
    fn no_character_of_a_query_is_a_wildcard() {
        assert_eq!(names("b_"), ["web_2"]);
        assert_eq!(names("%"), [""; 0]);
        assert_eq!(names("w.b"), [""; 0]);
    }

    #[test]
    fn a_retired_host_is_meant_by_its_whole_name_only() {
        assert_eq!(names("old-web"), ["old-web"]);
        assert_eq!(names("old"), [""; 0]);
        // Its address may be another host's by now.
        assert_eq!(names("192.0.2.6"), ["db-1"]);
    }
}
