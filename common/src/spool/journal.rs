//! Journal entries as lines of JSON.

use serde::{Deserialize, Serialize};

use crate::id::BootId;
use crate::session::JournalEntry;

/// One line of a journal block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalLine {
    pub entry: JournalEntry,
    /// The boot it is of, when that is not the boot of the segment it lies in.
    pub boot_id: Option<BootId>,
}

#[derive(Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    entry: &'a JournalEntry,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot_id: Option<BootId>,
}

#[derive(Deserialize)]
struct OtherBoot {
    boot_id: Option<BootId>,
}

/// Appends one line.
///
/// # Errors
/// None that an entry can cause; the type is `serde_json`'s.
pub fn write_journal_line(
    out: &mut Vec<u8>,
    entry: &JournalEntry,
    boot_id: Option<BootId>,
) -> Result<(), serde_json::Error> {
    let start = out.len();
    let written = serde_json::to_writer(&mut *out, &Written { entry, boot_id });
    match written {
        Ok(()) => out.push(b'\n'),
        // Half a line would spoil the block for the entries around it.
        Err(_) => out.truncate(start),
    }
    written
}

/// Returns the entries of a journal block; a line that is none is `Err`.
pub fn journal_lines(
    payload: &[u8],
) -> impl Iterator<Item = Result<JournalLine, serde_json::Error>> {
    payload
        .split(|&b| b == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| {
            Ok(JournalLine {
                entry: serde_json::from_slice(line)?,
                boot_id: serde_json::from_slice::<OtherBoot>(line)?.boot_id,
            })
        })
}
