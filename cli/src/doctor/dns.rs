//! Check: does the name have an address, and is the lookup fast? Every command waits for it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::net::lookup_host;
use tokio::time::timeout;

use super::CheckResult;
use crate::exit_code::Exit;
use crate::ui::time;

/// Twice the time after which a resolver gives up two name servers.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than a distant name server takes, and shorter than the first retry of a lost query.
const SLOW: Duration = Duration::from_secs(1);

enum LookupResult {
    /// The name is an address.
    IsAddress(IpAddr),
    Addresses(Vec<SocketAddr>),
    Nothing(io::Error),
    NoAnswer,
}

/// Checks a host; `key` is the setting with its name.
pub(super) async fn check(host: &str, port: u16, key: &str) -> CheckResult<Vec<SocketAddr>> {
    let since = Instant::now();
    let found = look(host, port).await;
    judge(host, port, key, found, since.elapsed())
}

async fn look(host: &str, port: u16) -> LookupResult {
    if let Ok(address) = host.parse() {
        return LookupResult::IsAddress(address);
    }
    // As in the commands: the system's resolver, with its files and timeouts.
    match timeout(PATIENCE, lookup_host((host, port))).await {
        Ok(Ok(addresses)) => LookupResult::Addresses(addresses.collect()),
        Ok(Err(error)) => LookupResult::Nothing(error),
        Err(_) => LookupResult::NoAnswer,
    }
}

fn judge(
    host: &str,
    port: u16,
    key: &str,
    found: LookupResult,
    took: Duration,
) -> CheckResult<Vec<SocketAddr>> {
    let addresses = match found {
        LookupResult::IsAddress(address) => {
            return CheckResult::pass(
                "is an address: no lookup needed",
                vec![(address, port).into()],
            );
        }
        LookupResult::Addresses(addresses) => addresses,
        LookupResult::Nothing(error) => {
            let found = format!("`{host}` has no address: {error}");
            let fix = format!("check the name in `{key}`, and the name servers of this machine");
            return CheckResult::fail(Exit::Unavailable, found, fix);
        }
        LookupResult::NoAnswer => {
            let found = format!("no name server answers for `{host}`");
            let fix = "check the name servers in /etc/resolv.conf, and the network to them";
            return CheckResult::fail(Exit::Unavailable, found, fix);
        }
    };
    let mut shown: Vec<String> = addresses.iter().map(|a| a.ip().to_string()).collect();
    shown.sort();
    shown.dedup();
    let found = format!("`{host}` is {}", shown.join(", "));
    if took < SLOW {
        return CheckResult::pass(found, addresses);
    }
    let found = format!("{found}; the lookup took {}", time::duration(took));
    let fix = if is_multicast(host) {
        "names in `.local` are looked up by multicast first, and every command waits for that: add the name to \
         /etc/hosts, or remove `mdns` from /etc/nsswitch.conf"
    } else {
        "every command waits for the lookup: find the name server in /etc/resolv.conf that does not answer"
    };
    CheckResult::warn(found, fix, addresses)
}

/// Returns whether the system's resolver may use multicast for this name (RFC 6762).
fn is_multicast(host: &str) -> bool {
    let top = host.trim_end_matches('.').rsplit('.').next();
    top.is_some_and(|top| top.eq_ignore_ascii_case("local"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(host: &str, took: u64) -> CheckResult<Vec<SocketAddr>> {
        let found = LookupResult::Addresses(vec!["10.0.0.1:443".parse().unwrap()]);
        judge(
            host,
            443,
            "VCTL_VAULT_ADDR",
            found,
            Duration::from_millis(took),
        )
    }

    #[test]
    fn slow_lookup_is_a_warning() {
        assert!(matches!(
            judged("vault.example", 999),
            CheckResult::Pass { .. }
        ));
        let CheckResult::Warn { found, fix, .. } = judged("vault.example", 5012) else {
            panic!("no warning");
        };
        assert!(found.contains("took 5.0s"), "{found}");
        assert!(!fix.contains("multicast"), "{fix}");
    }

    #[test]
    fn slow_local_name_is_blamed_on_multicast() {
        for host in ["vault.sre.local", "Vault.SRE.LOCAL."] {
            let CheckResult::Warn { fix, .. } = judged(host, 10_020) else {
                panic!("no warning");
            };
            assert!(fix.contains("multicast"), "{fix}");
        }
    }

    #[test]
    fn address_is_not_looked_up() {
        let found = LookupResult::IsAddress("::1".parse().unwrap());
        let finding = judge("::1", 443, "VCTL_DB_HOST", found, Duration::ZERO);
        let CheckResult::Pass { fact, .. } = finding else {
            panic!("{finding:?}");
        };
        assert_eq!(fact, ["[::1]:443".parse::<SocketAddr>().unwrap()]);
    }
}
