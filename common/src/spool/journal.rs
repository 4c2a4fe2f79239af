//! Journal entries as lines of JSON.

use serde::{Deserialize, Serialize};

use super::block::BlockKind;
use crate::id::BootId;
use crate::session::JournalEntry;

/// One line of a journal block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalLine {
    pub entry: JournalEntry,
    /// The entry's boot, if it differs from the boot of its segment.
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
/// `serde_json`'s error type; no entry causes one.
pub fn write_journal_line(
    out: &mut Vec<u8>,
    entry: &JournalEntry,
    boot_id: Option<BootId>,
) -> Result<(), serde_json::Error> {
    let start = out.len();
    let written = serde_json::to_writer(&mut *out, &Written { entry, boot_id });
    match written {
        Ok(()) => out.push(b'\n'),
        // Half a line would damage the entries around it.
        Err(_) => out.truncate(start),
    }
    written
}

/// Returns the entries of a journal block; `Err` for a line that is not an entry.
///
/// Only carried entries can be of another boot, so only they are parsed a second time for it.
pub fn journal_lines(
    kind: Option<BlockKind>,
    payload: &[u8],
) -> impl Iterator<Item = Result<JournalLine, serde_json::Error>> {
    payload
        .split(|&b| b == b'\n')
        .filter(|line| !line.is_empty())
        .map(move |line| {
            Ok(JournalLine {
                entry: serde_json::from_slice(line)?,
                boot_id: match kind {
                    Some(BlockKind::CarriedJournal) => {
                        serde_json::from_slice::<OtherBoot>(line)?.boot_id
                    }
                    _ => None,
                },
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Gap, GapCause};
    use crate::time::BootNs;

    #[test]
    fn a_carried_line_keeps_its_boot_beside_a_damaged_one() {
        let gap = Gap::new(GapCause::ProbeAway, None, BootNs(1), BootNs(u64::MAX));
        let entry = JournalEntry::Gap(Gap {
            first_seq: Some(u64::MAX),
            ..gap
        });
        let boot_id: BootId = "00000000-0000-4000-8000-000000000001".parse().unwrap();
        let mut payload = Vec::new();
        write_journal_line(&mut payload, &entry, Some(boot_id)).unwrap();
        payload.extend_from_slice(b"{\"entry\":\"of a later version\"}\n");
        write_journal_line(&mut payload, &entry, None).unwrap();
        let lines: Vec<_> = journal_lines(Some(BlockKind::CarriedJournal), &payload).collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].is_err());
        for (line, boot_id) in [(&lines[0], Some(boot_id)), (&lines[2], None)] {
            let line = line.as_ref().unwrap();
            assert_eq!((&line.entry, line.boot_id), (&entry, boot_id));
        }
    }
}
