//! The data of the page: the lines of the timeline and of the tree, as on a terminal.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, UNIX_EPOCH};

use anstream::StripStream;
use serde::Serialize;
use vctl_common::time::{BootNs, wall_now};

use crate::session::model::timeline::{Entry, EntryKind, UserChange, entries};
use crate::session::model::tree::{Node, Tree};
use crate::session::model::{History, Session, path_search};
use crate::session::text::fact::HeaderFact;
use crate::session::text::line::ProcessLine;
use crate::session::text::{detail, header, timeline, tree};
use crate::ui::{BAD, Layout, WARN, sanitize, time};

#[derive(Serialize)]
pub(super) struct PageJson {
    title: String,
    id: String,
    made: String,
    verdict: VerdictJson,
    facts: Vec<FactJson>,
    opened_ms: u64,
    /// Time from the opening to the last known event.
    until_us: u64,
    rows: Vec<RowJson>,
    tree: Vec<BranchJson>,
}

#[derive(Serialize)]
struct VerdictJson {
    state: &'static str,
    text: String,
}

#[derive(Serialize)]
struct FactJson {
    name: &'static str,
    text: String,
    warns: bool,
}

/// One line. An empty cell is an empty text.
#[derive(Serialize)]
struct RowJson {
    kind: &'static str,
    /// Time since the opening, by the boot clock.
    at_us: u64,
    took_us: Option<u64>,
    day: String,
    clock: String,
    pid: Option<u32>,
    user: String,
    /// It runs with a different user than its parent.
    changed: bool,
    result: String,
    bad: bool,
    odd: bool,
    took: String,
    what: String,
    notes: String,
    detail: String,
}

/// One line of the tree.
#[derive(Serialize)]
struct BranchJson {
    depth: usize,
    /// Position of the same line in the timeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<RowJson>,
    /// A later program of the process above.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    further: bool,
}

pub(super) fn page(history: &History, layout: Layout) -> PageJson {
    let session = &history.session;
    let mut entries = entries(history);
    if !layout.full {
        path_search::fold(&mut entries);
        entries.retain(Entry::is_essential);
    }
    let mut rows: Vec<RowJson> = entries.iter().map(|entry| row(entry, session)).collect();
    // By sequence number: a missing range has none and is not in the tree.
    let by_seq: HashMap<u64, usize> = entries
        .iter()
        .enumerate()
        .filter_map(|(index, entry)| Some((entry.event?.event.session_seq, index)))
        .collect();
    let mut facts = header::opening(
        session,
        Layout {
            full: true,
            ..layout
        },
    );
    facts.push(header::end(session));
    facts.extend(header::left_out(history).map(|text| HeaderFact::new("login work", text)));
    let last = rows
        .iter()
        .map(|row| row.at_us + row.took_us.unwrap_or(0))
        .max();
    let closed = session
        .closed
        .as_ref()
        .map(|closed| since_opening(closed.at, session));
    let until_us = last.max(closed).unwrap_or(0);
    if session.closed.is_none() {
        // The chart draws programs without an end up to its own end.
        let rows = rows.iter_mut().zip(&entries);
        for (row, _) in rows.filter(|(_, entry)| is_without_end(entry)) {
            row.took_us = Some(until_us - row.at_us);
        }
    }
    let opened = session.opened_at().duration_since(UNIX_EPOCH);
    PageJson {
        title: format!(
            "{} on {}",
            header::who(session),
            sanitize::text(&session.host)
        ),
        id: session.opened.id.to_string(),
        made: format!(
            "Made by vctl {} at {}. Times are UTC.",
            env!("CARGO_PKG_VERSION"),
            time::seconds(wall_now())
        ),
        verdict: verdict(history),
        facts: facts
            .into_iter()
            .map(|HeaderFact { name, text, warns }| FactJson { name, text, warns })
            .collect(),
        opened_ms: micros(opened.unwrap_or_default()) / 1000,
        until_us,
        tree: branches(history, &by_seq, layout),
        rows,
    }
}

fn is_without_end(entry: &Entry) -> bool {
    matches!(&entry.kind, EntryKind::Program(program) if program.end.is_none())
}

fn verdict(history: &History) -> VerdictJson {
    let session = &history.session;
    let state = match (session.missing(), &session.closed) {
        (Some(_), _) => "incomplete",
        (None, Some(_)) => "complete",
        (None, None) => "open",
    };
    let text = plain(|out| header::write_footer(out, session, history.deleted));
    let text = text.trim_end().to_owned();
    VerdictJson { state, text }
}

fn row(entry: &Entry, session: &Session) -> RowJson {
    let mut row = match ProcessLine::of(entry, timeline::missing_end(session)) {
        Some(line) => row_of_line(line),
        None => row_of_line(ProcessLine::default()),
    };
    row.at_us = since_opening(entry.at, session);
    row.day = time::date(entry.time);
    row.clock = time::clock(entry.time);
    let detail = plain(|out| detail::write(out, entry));
    let detail: Vec<&str> = detail.lines().map(str::trim_start).collect();
    row.detail = detail.join("\n");
    match entry.kind {
        EntryKind::Missing(range) => {
            row.kind = "gap";
            row.what = header::missing_range(range, session);
            row.took_us = Some(micros(range.to.since(range.from)));
        }
        EntryKind::Moved { .. } => row.kind = "moved",
        EntryKind::Program(_) | EntryKind::Failed { .. } => {}
        // Only its end is recorded, so it is drawn there.
        EntryKind::ForkEnded(_) => row.took_us = None,
    }
    row
}

fn row_of_line(line: ProcessLine) -> RowJson {
    RowJson {
        kind: "program",
        at_us: 0,
        took_us: line.duration.map(micros),
        day: String::new(),
        clock: String::new(),
        pid: line.pid,
        user: line.user.map(UserChange::shown).unwrap_or_default(),
        changed: line.user.is_some_and(|user| user.from != user.to),
        bad: line.result.style == BAD,
        odd: line.result.style == WARN,
        result: line.result.text,
        took: line.duration.map(time::duration).unwrap_or_default(),
        what: line.what,
        notes: line.notes.join(", "),
        detail: String::new(),
    }
}

fn branches(history: &History, by_seq: &HashMap<u64, usize>, layout: Layout) -> Vec<BranchJson> {
    let mut tree = Tree::new(history);
    if !layout.full {
        tree.prune();
    }
    let mut branches = Vec::new();
    // No recursion: the depth comes from the recorded host.
    let mut todo: Vec<(usize, usize)> = tree.roots.iter().rev().map(|&root| (root, 0)).collect();
    while let Some((index, depth)) = todo.pop() {
        let Some(node) = tree.node(index) else {
            continue;
        };
        branches.extend(lines(history, node, depth, by_seq));
        todo.extend(node.children.iter().rev().map(|&child| (child, depth + 1)));
    }
    branches
}

fn lines(
    history: &History,
    node: &Node,
    depth: usize,
    by_seq: &HashMap<u64, usize>,
) -> Vec<BranchJson> {
    let session = &history.session;
    if node.programs.is_empty() {
        let mut row = row_of_line(tree::without_program(history, node));
        row.at_us = since_opening(node.process.start, session);
        return vec![BranchJson {
            depth,
            index: None,
            row: Some(row),
            further: false,
        }];
    }
    let branch = |(nth, entry): (usize, &Entry)| {
        let seq = entry.event.map(|event| event.event.session_seq);
        let index = seq.and_then(|seq| by_seq.get(&seq).copied());
        BranchJson {
            depth,
            index,
            row: index.is_none().then(|| row(entry, session)),
            further: nth > 0,
        }
    };
    node.programs.iter().enumerate().map(branch).collect()
}

fn since_opening(at: BootNs, session: &Session) -> u64 {
    micros(at.since(session.opened.opened_at))
}

/// Microseconds; a JSON number is exact for 285 years of them.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros())
        .unwrap_or(u64::MAX)
        .min(1 << 53)
}

/// Renders without colours.
fn plain(render: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> String {
    let mut out = StripStream::new(Vec::new());
    // Writing to memory cannot fail.
    let _ = render(&mut out);
    String::from_utf8_lossy(&out.into_inner()).into_owned()
}
