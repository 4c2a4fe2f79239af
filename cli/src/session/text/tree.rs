//! A session's processes as a tree.

use std::io::{self, Write};

use vctl_common::charset;

use super::line::ProcessLine;
use super::{detail, header, timeline};
use crate::session::model::History;
use crate::session::model::tree::{Node, Tree};
use crate::ui::Layout;

/// Maximum indentation. A chain of processes may be as long as the host has pids, and without this limit the output
/// would grow with the square of its length.
const DEEPEST: usize = 40;

pub(crate) fn write(out: &mut dyn Write, history: &History, layout: Layout) -> io::Result<()> {
    header::write(out, &history.session, layout)?;
    writeln!(out)?;
    let mut tree = Tree::new(history);
    if !layout.full {
        tree.prune();
    }
    // No recursion: the depth comes from the recorded host.
    let mut todo: Vec<Branch> = Vec::new();
    push(&mut todo, &tree.roots, &Branch::default());
    while let Some(branch) = todo.pop() {
        if let Some(node) = tree.node(branch.node) {
            write_node(out, history, node, &branch, layout)?;
            push(&mut todo, &node.children, &branch);
        }
    }
    writeln!(out)?;
    header::write_footer(out, &history.session, history.deleted)?;
    header::write_left_out(out, history)
}

/// Position of a node in the drawing.
#[derive(Default)]
struct Branch {
    node: usize,
    depth: usize,
    /// Drawn before the node itself.
    stem: String,
    /// Drawn before its other lines and its children.
    below: String,
}

fn push(todo: &mut Vec<Branch>, children: &[usize], parent: &Branch) {
    // Backwards, because the last one pushed is drawn first.
    for (index, &node) in children.iter().enumerate().rev() {
        let is_last = index + 1 == children.len();
        let (stem, below) = match (parent.depth, is_last) {
            (0, _) => (String::new(), String::new()),
            (DEEPEST.., _) => (parent.stem.clone(), parent.below.clone()),
            (_, true) => (
                parent.below.clone() + &charset::shown("└─ "),
                parent.below.clone() + "   ",
            ),
            (_, false) => (
                parent.below.clone() + &charset::shown("├─ "),
                parent.below.clone() + &charset::shown("│  "),
            ),
        };
        todo.push(Branch {
            node,
            depth: parent.depth + 1,
            stem,
            below,
        });
    }
}

fn write_node(
    out: &mut dyn Write,
    history: &History,
    node: &Node,
    branch: &Branch,
    layout: Layout,
) -> io::Result<()> {
    let deeper = branch.depth.checked_sub(DEEPEST + 1);
    let prefix = |lead: &str| match deeper {
        Some(levels) if levels > 0 => format!("{lead}(+{levels}) "),
        _ => lead.to_owned(),
    };
    if node.programs.is_empty() {
        return ProcessLine {
            prefix: prefix(&branch.stem),
            ..without_program(history, node)
        }
        .write(out, layout);
    }
    let has_children = !node.children.is_empty();
    for (index, entry) in node.programs.iter().enumerate() {
        let Some(mut line) = ProcessLine::of(entry, timeline::missing_end(&history.session)) else {
            continue;
        };
        line.prefix = match (index, has_children) {
            (0, _) => prefix(&branch.stem),
            (_, true) => prefix(&branch.below) + &charset::shown("│ → "),
            (_, false) => prefix(&branch.below) + &charset::shown("→ "),
        };
        line.write(out, layout)?;
        if layout.full {
            detail::write(out, entry)?;
        }
    }
    Ok(())
}

pub(crate) fn without_program(history: &History, node: &Node) -> ProcessLine {
    let opened = &history.session.opened;
    let mut line = ProcessLine {
        pid: Some(node.process.tgid),
        ..ProcessLine::default()
    };
    line.what = if node.process == opened.leader {
        format!("(login, {})", crate::ui::sanitize::text(&opened.service))
    } else if node.exit.is_some() {
        "(forked)".to_owned()
    } else if node.process.tgid == 1 {
        "(orphans, adopted by pid 1)".to_owned()
    } else {
        "(no event recorded)".to_owned()
    };
    if let Some((exit, at)) = node.exit {
        line.ended(exit);
        line.duration = Some(at.since(node.process.start));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{LEADER, Login, assert_golden, rendered};

    fn tree(history: &History) -> String {
        rendered(|out| write(out, history, Layout::default()))
    }

    #[test]
    fn children_are_below_their_parent() {
        let history = Login::of_alice()
            .exec(4102, 4101, &["-bash"])
            .after_ms(20)
            .exec(4110, 4102, &["make", "all"])
            .exec_failed(4112, 4111, 13, &["./configure"])
            .exec(4112, 4111, &["sh", "./configure"])
            .after_ms(5)
            .exec(4112, 4111, &["true"])
            .exit(4112, 4111, 0)
            .exit(4111, 4110, 0)
            .exec(4113, 4110, &["cc", "-c", "main.c"])
            .after_ms(40)
            .killed(4113, 4110, 11)
            .exit(4114, 4110, 0)
            .exit(4110, 4102, 2)
            .exec(4120, 1, &["nohup", "sleep", "100"])
            .after_ms(500)
            .exit(4102, 4101, 0)
            .exit(4101, LEADER, 0)
            .exit(LEADER, 800, 0)
            .closed();
        assert_golden("tree.txt", &tree(&history));
    }

    #[test]
    fn deep_programs_are_all_in_the_tree() {
        let mut login = Login::of_alice();
        for pid in 4101..4401 {
            login = login.exec(pid, pid - 1, &["sh"]);
        }
        let shown = tree(&login.open());
        assert_eq!(
            shown.lines().filter(|line| line.ends_with("sh")).count(),
            300
        );
        assert!(shown.contains("(+250) sh"), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() < 200));
    }

    #[test]
    fn child_that_outlives_its_parent_stays_below_it() {
        let mut history = Login::of_alice()
            .exec(4102, 4101, &["-bash"])
            .exec(4103, 4102, &["sleep", "9"])
            .after_ms(5)
            .exit(4102, 4101, 0)
            .after_ms(5)
            .exit(4103, 1, 0)
            .open();
        // Records of two CPUs may be stored in any order.
        history.events.reverse();
        let shown = tree(&history);
        assert!(!shown.contains("adopted"), "{shown}");
        assert!(shown.contains("└─ sleep 9"), "{shown}");
    }

    #[test]
    fn search_along_path_is_folded_in_the_tree() {
        let history = Login::of_alice()
            .exec_failed(4102, 4101, 2, &["bash"])
            .exec_failed(4102, 4101, 2, &["bash"])
            .exec(4102, 4101, &["bash"])
            .open();
        let shown = tree(&history);
        assert!(!shown.contains("not executed"), "{shown}");
        assert_eq!(history.commands(), 1, "a failed exec is not a command");
    }

    #[test]
    fn impossible_parents_do_not_hide_a_process() {
        // Each claims the other as its parent, and one claims itself.
        let history = Login::of_alice()
            .exec(4200, 4201, &["first"])
            .exec(4201, 4200, &["second"])
            .exec(4300, 4300, &["third"])
            .open();
        let shown = tree(&history);
        for name in ["first", "second", "third"] {
            assert_eq!(shown.matches(name).count(), 1, "{shown}");
        }
    }
}
