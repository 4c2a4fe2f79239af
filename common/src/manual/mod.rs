//! Manual pages of a program, made from its command line: one page for each command.
//!
//! `clap_mangen` was considered: it lists the options of all commands in each SYNOPSIS, and has no
//! place for examples, exit statuses and related pages.

mod block;
mod lines;
mod page;
mod roff;
mod text;

pub use block::Block;
pub use page::{Page, Section};

/// Content that a program adds to its command line.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Section of the manual: `1` for users, `8` for administrators.
    pub section: &'static str,
    /// Exit statuses with their meanings.
    pub exit: &'static [(&'static str, &'static str)],
    /// Environment variables that every command reads.
    pub environment: Vec<(String, String)>,
    /// Files that the program reads or writes.
    pub files: &'static [(&'static str, &'static str)],
    /// Related pages of other programs, as `ssh(1)`.
    pub see_also: &'static [&'static str],
    /// Related commands of this program, by the name of the command.
    pub related: &'static [(&'static str, &'static [&'static str])],
}

/// Returns the pages of a program and of all its commands; the program's page is first.
pub fn pages(mut root: clap::Command, program: &Program) -> Vec<Page> {
    root.build();
    let mut pages = Vec::new();
    let mut left = vec![&root];
    while let Some(command) = left.pop() {
        pages.push(Page::of(command, &root, program));
        left.extend(command.get_subcommands().filter(|one| !one.is_hide_set()));
    }
    pages.sort_by(|one, other| one.name.cmp(&other.name));
    pages
}

#[cfg(test)]
mod tests;
