//! The processes of a session as they came from one another. Pure.

use std::collections::HashMap;

use vctl_common::event::{EventKind, ExitEvent};
use vctl_common::id::ProcessId;
use vctl_common::time::BootNs;

use super::timeline::{Entry, What, entries};
use super::{History, search};

/// Processes of a session. Holes and cgroup moves are the timeline's.
#[derive(Debug)]
pub(crate) struct Tree<'a> {
    /// By start, so a parent is always before its children.
    nodes: Vec<Node<'a>>,
    /// Indices of the nodes with no parent among them.
    pub(crate) roots: Vec<usize>,
}

/// One process.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    pub(crate) process: ProcessId,
    /// Programs it ran or failed to run, in order; empty when it only forked.
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
            // The oldest word counts: when a parent dies its children get another. Of a process that
            // only forked there is no word but its exit's, which names whoever adopted it.
            node.parent.get_or_insert(parent);
            if let EventKind::Exit(exit) = &event.event.kind {
                node.exit = Some((exit, event.event.at));
            }
            // The login's parent is the sshd that listens: nobody's session.
            if process != history.session.opened.leader {
                self::node(&mut by_id, parent);
            }
        }
        for entry in entries(history) {
            if let (What::Program(_) | What::Failed { .. }, Some(event)) =
                (&entry.what, entry.event)
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

    /// Takes away every process that neither ran a program nor has a descendant that did, and what
    /// searches along PATH tried.
    pub(crate) fn prune(&mut self) {
        for node in &mut self.nodes {
            search::fold(&mut node.programs);
        }
        let mut kept = vec![false; self.nodes.len()];
        // Children come after their parents, so backwards each is decided before its parent.
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

/// Joins children to parents and returns the rest.
///
/// A parent is older than its child. Records that say otherwise are not believed: the process
/// becomes a root, and no cycle can arise.
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
