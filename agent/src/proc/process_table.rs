//! All processes of the host from one reading of /proc, by parent and by audit session. The table is pure.

use std::collections::{HashMap, HashSet};

use vctl_common::id::AuditSessionId;

use super::stat::Stat;

/// A process as /proc shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    pub tgid: u32,
    pub stat: Stat,
    pub audit_session: Option<AuditSessionId>,
}

/// The processes of the host. Some may have ended since, and the list is not of one moment.
#[derive(Debug, Default)]
pub struct ProcessTable {
    /// In the order of /proc.
    processes: Vec<Listed>,
    by_tgid: HashMap<u32, usize>,
    by_audit_session: HashMap<AuditSessionId, Vec<u32>>,
    children: HashMap<u32, Vec<u32>>,
}

impl FromIterator<Listed> for ProcessTable {
    fn from_iter<T: IntoIterator<Item = Listed>>(listed: T) -> Self {
        let mut table = Self::default();
        for process in listed {
            let Listed { tgid, stat, .. } = process;
            table.by_tgid.insert(tgid, table.processes.len());
            table.processes.push(process);
            table.children.entry(stat.ppid).or_default().push(tgid);
            if let Some(audit_session) = process.audit_session {
                let members = table.by_audit_session.entry(audit_session);
                members.or_default().push(tgid);
            }
        }
        table
    }
}

impl ProcessTable {
    pub fn get(&self, tgid: u32) -> Option<&Listed> {
        self.processes.get(*self.by_tgid.get(&tgid)?)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Listed> {
        self.processes.iter()
    }

    /// Returns the processes of an audit session, in the order of /proc.
    pub fn of_audit_session(&self, audit_session: AuditSessionId) -> &[u32] {
        let members = self.by_audit_session.get(&audit_session);
        members.map_or(&[], Vec::as_slice)
    }

    /// Returns whether a process of the audit session began before that tick.
    pub fn has_older(&self, audit_session: AuditSessionId, start_ticks: u64) -> bool {
        let members = self.of_audit_session(audit_session).iter();
        let mut members = members.filter_map(|tgid| self.get(*tgid));
        members.any(|member| member.stat.start_ticks < start_ticks)
    }

    /// Returns a process and those below it, each parent before its children.
    pub fn tree(&self, root: u32) -> Vec<u32> {
        tree(root, |tgid| {
            self.children.get(&tgid).map_or(&[], Vec::as_slice)
        })
    }
}

/// Lists a tree, asking once for the children of each process. A pid that was used again while /proc was read can make
/// a process its own ancestor.
fn tree<'a>(root: u32, mut children: impl FnMut(u32) -> &'a [u32]) -> Vec<u32> {
    let mut tree = vec![root];
    let mut known = HashSet::from([root]);
    let mut next = 0;
    while let Some(&parent) = tree.get(next) {
        next += 1;
        let new = children(parent).iter().copied();
        tree.extend(new.filter(|child| known.insert(*child)));
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: u32 = 30_000;

    fn listed(tgid: u32, ppid: u32, start_ticks: u64, audit_session: u32) -> Listed {
        Listed {
            tgid,
            stat: Stat {
                ppid,
                start_ticks,
                is_zombie: false,
                is_exiting: false,
            },
            audit_session: AuditSessionId::new(audit_session),
        }
    }

    /// Lists the tree below process 1. Returns its size, and how often children were asked for and shown.
    fn work(parent_of: impl Fn(u32) -> u32) -> (usize, usize, usize) {
        let table: ProcessTable = (2..=MANY)
            .map(|tgid| listed(tgid, parent_of(tgid), 0, 0))
            .collect();
        let (mut asked, mut shown) = (0, 0);
        let tree = tree(1, |tgid| {
            let children = table.children.get(&tgid).map_or(&[][..], Vec::as_slice);
            asked += 1;
            shown += children.len();
            children
        });
        assert_eq!(tree, table.tree(1));
        (tree.len(), asked, shown)
    }

    #[test]
    fn a_tree_is_listed_with_one_look_at_each_process() {
        let many = MANY as usize;
        let chain = work(|tgid| tgid - 1);
        assert_eq!(chain, (many, many, many - 1));
        let star = work(|_| 1);
        assert_eq!(star, (many, many, many - 1));
    }

    #[test]
    fn a_tree_with_a_circle_has_an_end() {
        let table: ProcessTable = [listed(2, 3, 0, 0), listed(3, 2, 0, 0), listed(4, 3, 0, 0)]
            .into_iter()
            .collect();
        assert_eq!(table.tree(2), [2, 3, 4]);
        assert_eq!(table.tree(9), [9]);
    }

    #[test]
    fn an_audit_session_has_its_processes_and_the_oldest_of_them() {
        let table: ProcessTable = [
            listed(7, 1, 500, 3),
            listed(9, 7, 400, 4),
            listed(8, 1, 501, 3),
        ]
        .into_iter()
        .collect();
        let three = AuditSessionId::new(3).unwrap();
        assert_eq!(table.of_audit_session(three), [7, 8]);
        assert!(table.has_older(three, 501) && !table.has_older(three, 500));
        assert!(!table.has_older(AuditSessionId::new(5).unwrap(), u64::MAX));
    }
}
