//! Finds hosts by a word: name, address, or part of a name.

use std::net::IpAddr;

use super::{Host, HostState};

/// Returns all hosts of the first step with a result: exact name, an address set by operators, an address
/// reported by the agent, a part of the name. Operators come first, so that a host cannot take over another
/// host's connections by reporting its address.
///
/// A retired host is only found by its exact name, because another host may have its address now. Must match
/// `inventory_find.sql`; this one is for cached hosts.
pub(crate) fn resolve<'a>(hosts: &'a [Host], query: &str) -> Vec<&'a Host> {
    let name = query.to_lowercase();
    if let Some(exact) = hosts.iter().find(|host| host.name == name) {
        return vec![exact];
    }
    let in_use = hosts.iter().filter(|host| host.state != HostState::Retired);
    match address(query) {
        Some(ip) => {
            let by_operators: Vec<&Host> = in_use
                .clone()
                .filter(|host| host.has_operator_address(ip))
                .collect();
            if !by_operators.is_empty() {
                return by_operators;
            }
            in_use
                .filter(|host| host.observed_ips.contains(&ip))
                .collect()
        }
        None => in_use.filter(|host| host.name.contains(&name)).collect(),
    }
}

/// Parses an address. An IPv4-mapped IPv6 address becomes the IPv4 address.
pub(crate) fn address(query: &str) -> Option<IpAddr> {
    query.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

impl Host {
    /// Returns whether operators set this address.
    fn has_operator_address(&self, ip: IpAddr) -> bool {
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
    fn the_first_step_with_a_result_decides() {
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
    fn a_reported_address_does_not_override_an_operators() {
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
    fn a_retired_host_is_found_by_its_exact_name_only() {
        assert_eq!(names("old-web"), ["old-web"]);
        assert_eq!(names("old"), [""; 0]);
        // Its address may be another host's by now.
        assert_eq!(names("192.0.2.6"), ["db-1"]);
    }
}
