//! The limit of a list. One entry more is read, because that shows without another query whether more entries match.

use std::io::{self, Write as _};

use crate::ui::{Screen, notice};

/// Returns the number of entries to read for this limit; 0 reads all.
pub(crate) fn to_read(limit: usize) -> usize {
    match limit {
        0 => 0,
        limit => limit.saturating_add(1),
    }
}

/// Removes the entry above the limit. Returns whether there was one.
pub(crate) fn cut<T>(entries: &mut Vec<T>, limit: usize) -> bool {
    let more = limit > 0 && entries.len() > limit;
    if more {
        entries.truncate(limit);
    }
    more
}

/// Says, after the list, that it is not complete. A program that reads the list must learn it too.
pub(crate) fn note_older(screen: &mut Screen) -> io::Result<()> {
    screen.flush()?;
    notice::note("older entries match too; `-n 0` lists all");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_above_the_limit_is_reported() {
        for (limit, read, more) in [
            (0, 0, false),
            (2, 3, true),
            (3, 4, false),
            (usize::MAX, usize::MAX, false),
        ] {
            assert_eq!(to_read(limit), read);
            let mut entries = vec![1, 2, 3];
            assert_eq!(cut(&mut entries, limit), more, "{limit}");
            assert_eq!(entries.len(), if more { limit } else { 3 });
        }
    }
}
