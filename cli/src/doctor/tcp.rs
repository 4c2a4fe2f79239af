//! Check: does a server listen at one of the addresses?

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::CheckResult;
use crate::exit_code::Exit;

/// Time limit for one address: enough for two retransmissions.
const PATIENCE: Duration = Duration::from_secs(5);

enum ConnectResult {
    Listens,
    Refused(io::Error),
    Silent,
}

/// Checks the addresses; `fix` names what to check if no server listens.
pub(super) async fn check(addresses: &[SocketAddr], fix: &str) -> CheckResult<SocketAddr> {
    let mut found = Vec::new();
    for &address in addresses {
        let one = match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(_)) => ConnectResult::Listens,
            Ok(Err(error)) => ConnectResult::Refused(error),
            Err(_) => ConnectResult::Silent,
        };
        let listens = matches!(one, ConnectResult::Listens);
        found.push((address, one));
        if listens {
            break;
        }
    }
    judge(&found, fix)
}

fn judge(found: &[(SocketAddr, ConnectResult)], fix: &str) -> CheckResult<SocketAddr> {
    let failures: Vec<String> = found.iter().filter_map(failure).collect();
    let listens = found
        .iter()
        .find(|(_, one)| matches!(one, ConnectResult::Listens));
    match listens {
        None if failures.is_empty() => CheckResult::fail(
            Exit::Unavailable,
            "the name has no address",
            format!("check {fix}"),
        ),
        None => {
            let fix = format!("check {fix}, and the network and firewalls on the way");
            CheckResult::fail(Exit::Unavailable, failures.join("; "), fix)
        }
        Some((address, _)) if failures.is_empty() => {
            CheckResult::pass(format!("{address} answers"), *address)
        }
        // Commands try the addresses in parallel, each a moment after the previous one.
        Some((address, _)) => {
            let found = format!(
                "{address} answers, but an earlier address does not: {}",
                failures.join("; ")
            );
            let fix = "remove the address that does not work from the name";
            CheckResult::warn(found, fix, *address)
        }
    }
}

fn failure((address, found): &(SocketAddr, ConnectResult)) -> Option<String> {
    match found {
        ConnectResult::Listens => None,
        ConnectResult::Refused(error) => Some(format!("{address} cannot be reached: {error}")),
        ConnectResult::Silent => Some(format!(
            "{address} does not answer within {} s",
            PATIENCE.as_secs()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        ([10, 0, 0, last], 443).into()
    }

    #[test]
    fn hanging_address_before_a_good_one_is_a_warning() {
        let found = [
            (address(1), ConnectResult::Silent),
            (address(2), ConnectResult::Listens),
        ];
        let CheckResult::Warn { found, fact, .. } = judge(&found, "it") else {
            panic!("no warning");
        };
        assert_eq!(fact, address(2));
        assert!(found.contains("10.0.0.1:443 does not answer"), "{found}");
    }

    #[test]
    fn every_failed_address_is_named() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let found = [
            (address(1), ConnectResult::Silent),
            (address(2), ConnectResult::Refused(refused)),
        ];
        let CheckResult::Fail { exit, found, .. } = judge(&found, "it") else {
            panic!("no failure");
        };
        assert_eq!(exit, Exit::Unavailable);
        assert!(found.contains("10.0.0.1:443 does not") && found.contains("10.0.0.2:443 cannot"));
    }
}
