//! The addresses at which other hosts could reach this one.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;
use tracing::debug;
use vctl_common::causes::WithCauses;

/// More addresses than a host normally has. A host that gives each container an address in its own
/// name space would otherwise report all of them.
const MOST: usize = 64;

/// Returns the addresses of interfaces that are up, sorted, without duplicates.
pub(super) fn of_this_host() -> Vec<IpAddr> {
    let interfaces = match getifaddrs() {
        Ok(interfaces) => interfaces,
        Err(error) => {
            debug!(error = %WithCauses(&error), "The addresses of this host cannot be listed.");
            return Vec::new();
        }
    };
    let addresses = interfaces.filter_map(|interface| {
        let reachable = interface.flags.contains(InterfaceFlags::IFF_UP)
            && !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        let address = ip(interface.address.as_ref()?)?;
        (reachable && is_of_the_host(&interface.interface_name)).then_some(address)
    });
    chosen(addresses)
}

fn chosen(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut chosen: Vec<IpAddr> = addresses.filter(reaches_this_host).collect();
    chosen.sort_unstable();
    chosen.dedup();
    chosen.truncate(MOST);
    chosen
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        Some(IpAddr::V4(v4.ip()))
    } else {
        Some(IpAddr::V6(address.as_sockaddr_in6()?.ip()))
    }
}

/// Returns whether an address is valid only within this host or link: every host has the same
/// loopback and link-local networks.
fn reaches_this_host(address: &IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !link_local && !address.is_loopback() && !address.is_unspecified() && !address.is_multicast()
}

/// Returns whether an interface is the host's own. Bridges of container engines are not: they have
/// the same address on every host, such as `172.17.0.1`.
fn is_of_the_host(name: &str) -> bool {
    const ENGINES: [&str; 14] = [
        "docker", "veth", "cni", "podman", "virbr", "lxcbr", "lxdbr", "incusbr", "flannel", "cali",
        "cilium", "lxc", "kube-", "nerdctl",
    ];
    // Docker's own networks; a `br-lan` may be a bridge to a real network.
    let docker_network = name
        .strip_prefix("br-")
        .is_some_and(|id| id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit()));
    !docker_network && !ENGINES.iter().any(|engine| name.starts_with(engine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridges_of_container_engines_are_not_the_hosts() {
        for name in [
            "docker0",
            "docker_gwbridge",
            "br-1a2b3c4d5e6f",
            "veth12ab",
            "cni0",
            "podman1",
            "virbr0",
            "cali1234",
            "lxdbr0",
        ] {
            assert!(!is_of_the_host(name), "{name}");
        }
        for name in [
            "eth0", "ens3", "bond0", "br0", "br-lan", "wg0", "vlan12", "wlp2s0",
        ] {
            assert!(is_of_the_host(name), "{name}");
        }
    }

    #[test]
    fn loopback_and_link_local_are_left_out_of_both_families() {
        let addresses = [
            "2001:db8::7",
            "fe80::1",
            "::1",
            "127.0.0.1",
            "169.254.3.4",
            "10.0.0.7",
            "10.0.0.7",
            "fd00::1",
        ];
        let chosen = chosen(addresses.iter().map(|text| text.parse().unwrap()));
        let expected: Vec<IpAddr> = ["10.0.0.7", "2001:db8::7", "fd00::1"]
            .map(|text| text.parse().unwrap())
            .into();
        assert_eq!(chosen, expected);
    }

    #[test]
    fn a_host_of_ten_thousand_addresses_reports_some() {
        let many = (0..10_000_u32).map(|n| IpAddr::V4((0x0a00_0000 + n).into()));
        assert_eq!(chosen(many).len(), MOST);
    }
}
