//! The list for sshd: certificates and key ids of the users whose access was revoked in the last day.

use std::collections::BTreeSet;
use std::path::Path;

use vctl_common::count::counted;
use vctl_common::pg::Client;
use vctl_common::time::wall_now;

use super::{krl, store};
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::files::private_file::{self, Access};
use crate::ui::notice;

/// Permissions of the list. It contains no secret.
const READABLE: Access = Access {
    mode: 0o644,
    owner: None,
    group: None,
};
/// Maximum number of names that the database returns: `revoked_names_v1`.
const NAMED: usize = 1024;

/// Writes the list. It always has the names `revoked_now`, even if their revocation could not be recorded.
pub(crate) async fn write(
    client: &Client,
    path: &Path,
    revoked_now: &BTreeSet<String>,
) -> Result<(), CliError> {
    let mut names = store::revoked_names(client).await?;
    if names.len() >= NAMED {
        notice::note(&format!(
            "more users may be revoked than a list has names: this one has the newest {NAMED}"
        ));
    }
    let mut serials = store::certificates(client, &names).await?;
    // A query of its own: the database reads at most 1,024 names.
    if !revoked_now.is_subset(&names) {
        serials.extend(store::certificates(client, revoked_now).await?);
        names.extend(revoked_now.iter().cloned());
    }
    let made_at = wall_now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let list = krl::encode(&serials, &names, made_at, "vctl revoke");
    // sshd refuses every key while it cannot read the file, so the file is replaced as a whole.
    let written = private_file::replace_for(path, READABLE, |file| file.write_all(&list));
    written.map_err(|error| {
        let message = format!("cannot write the list `{}`", path.display());
        CliError::new(Exit::Failure, message).caused_by(&error)
    })?;
    notice::note(&format!(
        "`{}` has {} and {} in {} bytes: install it on each host, docs/live.md",
        path.display(),
        counted(serials.len(), "certificate"),
        counted(names.len(), "key id"),
        list.len(),
    ));
    Ok(())
}
