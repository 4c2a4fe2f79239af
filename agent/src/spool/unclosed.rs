//! Sessions that would look open without a segment.

use std::collections::HashSet;
use std::path::Path;

use vctl_common::spool::SpoolReader;
use vctl_common::wire::Mark;

use super::error::SpoolError;

/// Returns which of these sessions would look open without the segment `number`, because their beginning is in another
/// one and their end is not.
pub(super) fn unclosed_without(
    dir: &Path,
    number: u64,
    marks: Vec<Mark>,
) -> Result<HashSet<Mark>, SpoolError> {
    if marks.is_empty() {
        return Ok(HashSet::new());
    }
    let reader = SpoolReader::open(dir)?.shortened().without(number);
    let left = reader.sessions_of(marks)?.into_iter();
    let unclosed = left.filter(|session| session.closed.is_none());
    Ok(unclosed.map(|session| session.opened.id.mark()).collect())
}
