//! Time limits of each step of a connection, also for servers that never answer.

use std::time::Duration;

/// Time for the direct route alone, before the jump hosts are tried in parallel.
pub(crate) const HEAD_START: Duration = Duration::from_millis(300);

/// Longest wait of a connection for the lookup, which takes longer than 10 s only while Postgres is away. Servers end a
/// connection without a login (`LoginGraceTime`).
pub(crate) const EARLY_CONNECTION: Duration = Duration::from_secs(20);

/// For one TCP connection.
pub(crate) const TCP: Duration = Duration::from_secs(10);

/// From the first byte to the end of the key exchange, without the time that the user takes to confirm a host key.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(15);

/// For the answer to the certificate. PAM may take time meanwhile.
pub(crate) const AUTHENTICATION: Duration = Duration::from_secs(30);

/// For opening a channel, and for its requests.
pub(crate) const CHANNEL: Duration = Duration::from_secs(15);

/// For the lookup of the active CA, if the host is known without the database.
pub(crate) const SIGNING_MOUNT: Duration = Duration::from_secs(2);

/// For the access row. After that it is stored on this machine and sent later.
pub(crate) const ACCESS_ROW: Duration = Duration::from_secs(5);

/// For the access row, if Postgres just failed to answer.
pub(crate) const ACCESS_ROW_WHILE_AWAY: Duration = Duration::from_millis(500);

/// Time that an access keeps its connection to Postgres. A short command ends earlier, and closes its row through the
/// same connection.
pub(crate) const KEEP_CONNECTED: Duration = Duration::from_secs(1);

/// For a certificate that no route uses any more, at the end of the command. After that its row has no serial.
pub(crate) const UNUSED_CERTIFICATE: Duration = Duration::from_secs(2);

/// For the disconnect message to a host.
pub(crate) const GOODBYE: Duration = Duration::from_millis(500);

/// Maximum number of keepalive requests without an answer; the setting `ssh_keepalive` is their interval.
pub(crate) const KEEPALIVES: usize = 3;
