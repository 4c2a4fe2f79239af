//! What an operator wants of a host: a new one, or something about it that is to be otherwise.

use std::net::IpAddr;

use super::HostState;
use crate::config::Config;

/// A host that is to be in the inventory.
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
    /// Returns a host about which nothing but name and address is said: the rest is the configuration's.
    pub(crate) fn of_settings(name: String, ip: IpAddr, config: &Config) -> Self {
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

/// Returns the data centre that `dc_rules` give an address; `unknown` where none fits.
pub(crate) fn data_centre(config: &Config, ip: IpAddr) -> String {
    let rules = config.dc_rules.iter();
    let rules = rules.map(|rule| (&*rule.name, &rule.prefixes[..]));
    dc_of(rules, ip).unwrap_or("unknown").to_owned()
}

/// What is to be otherwise; `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
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

/// How a host is to be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Jump {
    Direct,
    Through(String),
}

/// Reads a host name as the inventory takes one.
///
/// It is a key of `known_hosts`, and a word in a shell, a URL and a path of Vault.
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
            "a host name has 1 to 63 of a-z, 0-9, `.`, `_` and `-`, and begins and ends with a letter or digit"
                .to_owned(),
        )
    }
}

/// Reads the name of a jump host, or `direct`.
pub(crate) fn jump(text: &str) -> Result<Jump, String> {
    match text {
        "direct" => Ok(Jump::Direct),
        text => name(text).map(Jump::Through),
    }
}

/// Returns the data centre whose rule has the longest beginning of `ip` as text, if any has one.
fn dc_of<'a>(rules: impl Iterator<Item = (&'a str, &'a [String])>, ip: IpAddr) -> Option<&'a str> {
    let text = ip.to_string();
    let mut best: Option<(usize, &str)> = None;
    for (name, prefixes) in rules {
        for prefix in prefixes
            .iter()
            .filter(|prefix| text.starts_with(prefix.as_str()))
        {
            // Of rules that are equally exact the first one counts.
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
    fn a_name_is_one_that_every_tool_takes() {
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
    fn the_most_exact_rule_names_the_data_centre() {
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
