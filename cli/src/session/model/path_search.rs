//! Searches along PATH: one failed exec per directory, shown as one line. Pure.

use std::collections::HashMap;
use std::mem;

use vctl_common::event::ExecEvent;
use vctl_common::id::ProcessId;

use super::timeline::{Entry, EntryKind};

const ENOENT: u32 = 2;
const EACCES: u32 = 13;
const ENOTDIR: u32 = 20;

/// Removes the attempts of each search that found its program, and all but the first attempt of one that did not.
///
/// A search is a series of attempts by one process with the same argv and the same name in different directories.
/// Attempts to execute other files keep a line each.
pub(crate) fn fold(entries: &mut Vec<Entry>) {
    let mut kept = vec![true; entries.len()];
    let mut running: HashMap<ProcessId, Search> = HashMap::new();
    let mut failed: Vec<Search> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let Some(event) = entry.event else { continue };
        let process = event.event.process;
        match &entry.kind {
            EntryKind::Failed { exec, errno, .. }
                if matches!(*errno, ENOENT | EACCES | ENOTDIR) =>
            {
                let search = running.entry(process).or_default();
                let goes_on = search.last.is_none_or(|last| is_same(last, exec));
                if !goes_on {
                    failed.push(mem::take(search));
                }
                search.last = Some(exec);
                search.attempts.push(index);
                if search.errno != Some(EACCES) {
                    // As in execvp(3): a file that exists but cannot be run outweighs missing ones.
                    search.errno = Some(*errno);
                }
            }
            EntryKind::Program(program) => {
                let Some(search) = running.remove(&process) else {
                    continue;
                };
                if search.last.is_some_and(|last| is_same(last, program.exec)) {
                    for attempt in search.attempts {
                        kept[attempt] = false;
                    }
                } else {
                    failed.push(search);
                }
            }
            EntryKind::Failed { .. } => failed.extend(running.remove(&process)),
            _ => {}
        }
    }
    for search in failed.into_iter().chain(running.into_values()) {
        let Some((&first, rest)) = search.attempts.split_first() else {
            continue;
        };
        for &attempt in rest {
            kept[attempt] = false;
        }
        if let EntryKind::Failed {
            errno, directories, ..
        } = &mut entries[first].kind
        {
            *directories = search.attempts.len();
            *errno = search.errno.unwrap_or(*errno);
        }
    }
    let mut kept = kept.into_iter();
    entries.retain(|_| kept.next().unwrap_or(true));
}

#[derive(Default)]
struct Search<'a> {
    attempts: Vec<usize>,
    last: Option<&'a ExecEvent>,
    errno: Option<u32>,
}

fn is_same(attempt: &ExecEvent, other: &ExecEvent) -> bool {
    // For a script, the interpreter and the script's path replace argv[0].
    let same_argv = attempt.argv == other.argv
        || other.script
            && attempt
                .argv
                .get(1..)
                .is_some_and(|arguments| other.argv.ends_with(arguments));
    same_argv && name(&attempt.filename) == name(&other.filename)
}

fn name(path: &[u8]) -> Option<&[u8]> {
    path.rsplit(|&b| b == b'/').next()
}
