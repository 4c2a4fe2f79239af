//! Checks the collector on the same host, from its status file and its socket.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use vctl_common::status::{self, CollectorStatus, StatusError};

use crate::config::Config;

/// Without a session the collector writes its status every 30 s.
const STALE: Duration = Duration::from_mins(2);
/// As long as a login would wait.
const PATIENCE: Duration = Duration::from_secs(2);

/// Result of the check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CollectorHealth {
    /// `None` when no collector has run since the boot.
    pub(super) up: Option<bool>,
    pub(super) status: Option<CollectorStatus>,
    /// The problem, in words.
    pub(super) problem: Option<String>,
}

/// Reads the status file and connects to the socket.
pub(super) async fn look(config: &Config, now: SystemTime) -> CollectorHealth {
    let answer = answers(&config.socket()).await;
    judge(status::read(&config.run_dir), answer, now)
}

fn judge(
    status: Result<CollectorStatus, StatusError>,
    answer: io::Result<()>,
    now: SystemTime,
) -> CollectorHealth {
    let (status, unreadable) = match status {
        Ok(status) => (Some(status), None),
        Err(StatusError::Absent { .. }) => (None, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let nobody = answer
        .as_ref()
        .is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    if status.is_none() && unreadable.is_none() && nobody {
        return CollectorHealth::default();
    }
    let stale = status.as_ref().is_some_and(|status| {
        let age = now.duration_since(status.written_at.time());
        age.is_ok_and(|age| age > STALE)
    });
    let of_status = status.as_ref().and_then(|status| {
        let shipping = status.shipping.as_ref();
        let unshipped = shipping
            .and_then(|shipping| shipping.problem.as_ref())
            .map(|why| format!("nothing is shipped: {why}"));
        status.problem.clone().or(unshipped)
    });
    let silent = answer
        .err()
        .map(|error| format!("the collector does not answer: {error}"));
    let up = silent.is_none() && !stale;
    let stale = stale.then(|| "the collector has written no status for 2 minutes".to_owned());
    CollectorHealth {
        up: Some(up),
        problem: silent.or(stale).or(unreadable).or(of_status),
        status,
    }
}

/// Connects and disconnects. The collector's loop has to accept and close the connection: the
/// kernel also accepts connections for a process that hangs.
async fn answers(socket: &Path) -> io::Result<()> {
    let asked = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.shutdown().await?;
        stream.read(&mut [0; 1]).await.map(|_| ())
    };
    let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in 2 s"));
    timeout(PATIENCE, asked).await.unwrap_or_else(late)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::time::UNIX_EPOCH;
    use vctl_common::status::{Millis, Shipping};

    const NOW: SystemTime = UNIX_EPOCH;

    fn absent() -> Result<CollectorStatus, StatusError> {
        let path = "/run/vctl/collector.json".into();
        Err(StatusError::Absent { path })
    }

    fn gone() -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    #[test]
    fn a_host_without_a_collector_is_neither_up_nor_ill() {
        assert_eq!(judge(absent(), gone(), NOW), CollectorHealth::default());
    }

    #[test]
    fn a_collector_that_stopped_is_down_with_its_last_numbers() {
        let status = CollectorStatus::default();
        let health = judge(Ok(status.clone()), gone(), NOW);
        assert_eq!((health.up, health.status), (Some(false), Some(status)));
        assert!(
            health
                .problem
                .unwrap()
                .starts_with("the collector does not answer")
        );
    }

    #[test]
    fn an_old_status_is_no_sign_of_life() {
        let now = UNIX_EPOCH + STALE + Duration::from_secs(1);
        let health = judge(Ok(CollectorStatus::default()), Ok(()), now);
        assert_eq!(health.up, Some(false));
    }

    #[test]
    fn a_collector_that_cannot_ship_is_up_and_says_so() {
        let status = CollectorStatus {
            written_at: Millis::from_time(NOW),
            shipping: Some(Shipping {
                problem: Some("Vault is sealed".to_owned()),
                ..Shipping::default()
            }),
            ..CollectorStatus::default()
        };
        let health = judge(Ok(status), Ok(()), NOW);
        assert_eq!(health.up, Some(true));
        assert_eq!(
            health.problem.unwrap(),
            "nothing is shipped: Vault is sealed"
        );
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_socket_that_lets_connect_and_says_nothing_does_not_answer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let silent = answers(&path).await.unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::TimedOut);
        // Closes the connection that is waiting, then the next one.
        let served = std::thread::spawn(move || {
            for _ in 0..2 {
                drop(listener.accept().unwrap());
            }
        });
        answers(&path).await.unwrap();
        served.join().unwrap();
    }
}
