//! The processes of a session as a tree. Pure.

use std::collections::HashMap;

use vctl_common::event::{EventKind, ExitEvent};
use vctl_common::id::ProcessId;
use vctl_common::time::BootNs;

use super::timeline::{Entry, EntryKind, entries};
use super::{History, path_search};

/// Processes of a session. Missing ranges and cgroup moves are shown only in the timeline.
#[derive(Debug)]
pub(crate) struct Tree<'a> {
    /// By start time, so a parent comes before its children.
    nodes: Vec<Node<'a>>,
    /// Indices of the nodes with no parent among them.
    pub(crate) roots: Vec<usize>,
}

/// One process.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    pub(crate) process: ProcessId,
    /// Programs that it executed or tried to, in order; empty when it only forked.
    pub(crate) programs: Vec<Entry<'a>>,
    /// `None` while it runs, and for a process outside the session.
    pub(crate) exit: Option<(&'a ExitEvent, BootNs)>,
    pub(crate) children: Vec<usize>,
    parent: Option<ProcessId>,
}

impl<'a> Tree<'a> {
    pub(crate) fn new(history: &'a History) -> Self {
        let mut by_id: HashMap<ProcessId, Node<'a>> = HashMap::new();
        let mut order: Vec<_> = history.events.iter().collect();
        order.sort_by_key(|event| (event.event.at, event.event.session_seq));
        for event in order {
            let process = event.event.process;
            let parent = match &event.event.kind {
                EventKind::Exec(exec) | EventKind::ExecFailed { exec, .. } => exec.parent,
                EventKind::Exit(exit) => exit.parent,
                EventKind::CgroupMove(_) => continue,
            };
            let node = node(&mut by_id, process);
            // The first reported parent counts: a child whose parent ends gets another one. A process that only
            // forked has just the report of its exit, which names the process that adopted it.
            node.parent.get_or_insert(parent);
            if let EventKind::Exit(exit) = &event.event.kind {
                node.exit = Some((exit, event.event.at));
            }
            // The parent of the login process is the listening sshd, which is in no session.
            if process != history.session.opened.leader {
                self::node(&mut by_id, parent);
            }
        }
        for entry in entries(history) {
            if let (EntryKind::Program(_) | EntryKind::Failed { .. }, Some(event)) =
                (&entry.kind, entry.event)
            {
                node(&mut by_id, event.event.process).programs.push(entry);
            }
        }
        let mut nodes: Vec<Node> = by_id.into_values().collect();
        nodes.sort_by_key(|node| (node.process.start, node.process.tgid));
        let roots = link(&mut nodes);
        Self { nodes, roots }
    }

    pub(crate) fn node(&self, index: usize) -> Option<&Node<'a>> {
        self.nodes.get(index)
    }

    /// Removes the attempts of searches along PATH, and every process without a program whose descendants have none
    /// either.
    pub(crate) fn prune(&mut self) {
        for node in &mut self.nodes {
            path_search::fold(&mut node.programs);
        }
        let mut kept = vec![false; self.nodes.len()];
        // Children come after their parents: backwards, each child is decided before its parent.
        for (index, node) in self.nodes.iter().enumerate().rev() {
            let by_child = node.children.iter().any(|&child| kept[child]);
            kept[index] = by_child || !node.programs.is_empty();
        }
        for node in &mut self.nodes {
            node.children.retain(|&child| kept[child]);
        }
        self.roots.retain(|&root| kept[root]);
    }
}

fn node<'n, 'a>(
    by_id: &'n mut HashMap<ProcessId, Node<'a>>,
    process: ProcessId,
) -> &'n mut Node<'a> {
    by_id.entry(process).or_insert_with(|| Node {
        process,
        programs: Vec::new(),
        exit: None,
        children: Vec::new(),
        parent: None,
    })
}

/// Adds each child to its parent and returns the processes without one.
///
/// A parent is older than its child. A process whose recorded parent is not older becomes a root, so no cycle can
/// arise.
fn link(nodes: &mut [Node]) -> Vec<usize> {
    let index: HashMap<ProcessId, usize> = nodes
        .iter()
        .enumerate()
        .map(|(index, node)| (node.process, index))
        .collect();
    let mut roots = Vec::new();
    for child in 0..nodes.len() {
        let parent = nodes[child].parent.and_then(|id| index.get(&id).copied());
        match parent {
            Some(parent) if parent < child => nodes[parent].children.push(child),
            _ => roots.push(child),
        }
    }
    roots
}
