//! How long each step of a connection may take. A server that answers nothing ends inside them.

use std::time::Duration;

/// How long the direct way is tried alone before the jump hosts are tried beside it.
pub(crate) const HEAD_START: Duration = Duration::from_millis(300);

/// For one TCP connection.
pub(crate) const TCP: Duration = Duration::from_secs(10);

/// From the first byte to a key exchange that is done; a person who is asked about a host key does
/// not count.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(15);

/// For the answer to the certificate. PAM may do its own work meanwhile.
pub(crate) const AUTHENTICATION: Duration = Duration::from_secs(30);

/// For a channel, and for what is asked on it before it is used.
pub(crate) const CHANNEL: Duration = Duration::from_secs(15);

/// For which CA signs, where the host is known without the database.
pub(crate) const SIGNING_MOUNT: Duration = Duration::from_secs(2);

/// For the access row. Later it is kept here and handed in another time.
pub(crate) const ACCESS_ROW: Duration = Duration::from_secs(5);

/// For the access row where Postgres was away a moment ago, and that was waited for.
pub(crate) const ACCESS_ROW_WHILE_AWAY: Duration = Duration::from_millis(500);

/// For the last message to a host.
pub(crate) const GOODBYE: Duration = Duration::from_millis(500);

/// A silent server is asked this often before it is left; the setting `ssh_keepalive` is the time between.
pub(crate) const KEEPALIVES: usize = 3;
