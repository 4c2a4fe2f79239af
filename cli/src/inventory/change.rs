//! New hosts, and changes of hosts, before they are written to the inventory.

use std::net::IpAddr;

use super::HostState;
use crate::config::Config;

/// A new host for the inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewHost {
    pub(crate) name: String,
    pub(crate) dc: String,
    pub(crate) ip: IpAddr,
    pub(crate) ssh_port: u16,
    pub(crate) ssh_user: String,
    pub(crate) jump_via: Option<String>,
    pub(crate) extra_ips: Vec<IpAddr>,
    pub(crate) ca_role: String,
    pub(crate) state: HostState,
    pub(crate) tags: Vec<String>,
}

impl NewHost {
    /// Returns a host with this name and address, and the defaults of the configuration.
    pub(crate) fn with_defaults(name: String, ip: IpAddr, config: &Config) -> Self {
        Self {
            dc: data_centre(config, ip),
            ssh_port: 22,
            ssh_user: config.ssh_default_user.clone(),
            jump_via: None,
            extra_ips: Vec::new(),
            ca_role: config.ca_role.clone(),
            state: HostState::Active,
            tags: Vec::new(),
            name,
            ip,
        }
    }
}

/// Returns the data centre of an address by `dc_rules`; `unknown` if no rule matches.
pub(crate) fn data_centre(config: &Config, ip: IpAddr) -> String {
    let rules = config.dc_rules.iter();
    let rules = rules.map(|rule| (&*rule.name, &rule.prefixes[..]));
    dc_of(rules, ip).unwrap_or("unknown").to_owned()
}

/// A change of a host. `None` leaves a column unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostChange {
    pub(crate) name: Option<String>,
    pub(crate) dc: Option<String>,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) ssh_port: Option<u16>,
    pub(crate) ssh_user: Option<String>,
    pub(crate) jump: Option<Jump>,
    pub(crate) extra_ips: Option<Vec<IpAddr>>,
    pub(crate) ca_role: Option<String>,
    pub(crate) state: Option<HostState>,
    pub(crate) tags: Option<Vec<String>>,
}

/// A new jump host, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Jump {
    Direct,
    Through(String),
}

/// Parses a host name for the inventory.
///
/// A host name is also a key of `known_hosts`, and a word in a shell, a URL and a path of Vault.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let inner = |b: u8| edge(b) || matches!(b, b'.' | b'_' | b'-');
    let bytes = text.as_bytes();
    let fine = match bytes {
        [] => false,
        [first, .., last] => edge(*first) && edge(*last) && bytes.iter().all(|&b| inner(b)),
        [only] => edge(*only),
    };
    if fine && bytes.len() <= 63 {
        Ok(text.to_owned())
    } else {
        Err(
            "a host name has 1 to 63 characters a-z, 0-9, `.`, `_` and `-`, and begins and ends with a letter or digit"
                .to_owned(),
        )
    }
}

/// Parses the name of a jump host, or `direct`.
pub(crate) fn jump(text: &str) -> Result<Jump, String> {
    match text {
        "direct" => Ok(Jump::Direct),
        text => name(text).map(Jump::Through),
    }
}

/// Returns the data centre of the rule with the longest prefix of `ip` as text.
fn dc_of<'a>(rules: impl Iterator<Item = (&'a str, &'a [String])>, ip: IpAddr) -> Option<&'a str> {
    let text = ip.to_string();
    let mut best: Option<(usize, &str)> = None;
    for (name, prefixes) in rules {
        for prefix in prefixes
            .iter()
            .filter(|prefix| text.starts_with(prefix.as_str()))
        {
            // The first of several rules with the same length applies.
            if best.is_none_or(|(length, _)| prefix.len() > length) {
                best = Some((prefix.len(), name));
            }
        }
    }
    best.map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_is_valid_for_all_tools() {
        for fine in ["a", "web-1", "10.0.0.9", "a_b.c"] {
            assert_eq!(name(fine).as_deref(), Ok(fine));
        }
        let long = "a".repeat(64);
        for bad in ["", "-a", "a-", "Web", "a b", "a/b", "ü", "a\n", &long] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
        assert_eq!(jump("direct"), Ok(Jump::Direct));
    }

    #[test]
    fn the_longest_prefix_decides_the_data_centre() {
        let rules = [
            ("wide", vec!["10.".to_owned(), "192.168.".to_owned()]),
            ("narrow", vec!["10.40.0.".to_owned()]),
            ("late", vec!["10.40.0.".to_owned()]),
        ];
        let dc = |ip: &str| {
            let rules = rules.iter().map(|(name, prefixes)| (*name, &prefixes[..]));
            dc_of(rules, ip.parse().unwrap())
        };
        assert_eq!(dc("10.40.0.7"), Some("narrow"));
        assert_eq!(dc("10.40.1.7"), Some("wide"));
        assert_eq!(dc("172.16.0.1"), None);
    }
}
