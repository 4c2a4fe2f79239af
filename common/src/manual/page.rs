//! One manual page: its sections, made from a command.

use clap::builder::PossibleValue;
use clap::{Arg, Command};

use super::block::Block;
use super::{Program, lines};

/// A manual page before it is formatted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Name of the page and of its file: `vctl-ca-install`.
    pub name: String,
    /// Section of the manual.
    pub section: &'static str,
    /// Program and version: `vctl 0.1.0`.
    pub source: String,
    pub sections: Vec<Section>,
}

/// A heading and the text below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    pub title: &'static str,
    pub blocks: Vec<Block>,
}

impl Page {
    /// Returns the page of `command`, which is `root` or below it; both are built.
    pub(super) fn of(command: &Command, root: &Command, program: &Program) -> Self {
        let is_root = std::ptr::eq(command, root);
        let name = name_of(command);
        let mut page = Self {
            section: program.section,
            source: format!(
                "{} {}",
                root.get_name(),
                root.get_version().unwrap_or_default()
            ),
            sections: Vec::new(),
            name,
        };
        let about = text(command.get_about());
        page.add(
            "NAME",
            [Block::Paragraph(format!("{} - {about}", page.name))],
        );
        page.add("SYNOPSIS", usage(command));
        page.add("DESCRIPTION", description(command, is_root));
        page.add("COMMANDS", commands(command));
        page.add("ARGUMENTS", arguments(command));
        page.add("OPTIONS", options(command, root));
        if let Some(examples) = command.get_before_help() {
            page.add("EXAMPLES", lines::examples(&examples.to_string()));
        }
        page.add("EXIT STATUS", items(program.exit));
        page.add("ENVIRONMENT", environment(command, root, program));
        page.add("FILES", items(if is_root { program.files } else { &[] }));
        page.add("SEE ALSO", see_also(command, root, program));
        page
    }

    /// Returns the name of the page's file: `vctl-ca-install.1`.
    pub fn file_name(&self) -> String {
        format!("{}.{}", self.name, self.section)
    }

    fn add(&mut self, title: &'static str, blocks: impl IntoIterator<Item = Block>) {
        let blocks: Vec<Block> = blocks.into_iter().collect();
        if !blocks.is_empty() {
            self.sections.push(Section { title, blocks });
        }
    }
}

fn name_of(command: &Command) -> String {
    let name = command.get_display_name();
    name.unwrap_or_else(|| command.get_name()).to_owned()
}

fn text(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}

fn usage(command: &Command) -> Vec<Block> {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:");
    let lines = usage
        .lines()
        .map(|line| Block::Usage(line.trim().to_owned()));
    lines.collect()
}

fn description(command: &Command, is_root: bool) -> Vec<Block> {
    let about = text(command.get_long_about().or(command.get_about()));
    let mut blocks: Vec<Block> = about
        .split("\n\n")
        .map(|part| Block::Paragraph(ended(&part.replace('\n', " "))))
        .collect();
    if let Some(help) = command.get_after_help() {
        let has_own_section = |heading: &str| is_root && heading == "Exit status";
        blocks.extend(lines::blocks(&help.to_string(), has_own_section));
    }
    blocks
}

/// Adds the full stop that the first sentence of a help text lacks, unless a heading follows.
fn ended(sentence: &str) -> String {
    let sentence = sentence.trim();
    if sentence.is_empty() || sentence.ends_with(['.', ':', '?', '!', ']']) {
        sentence.to_owned()
    } else {
        format!("{sentence}.")
    }
}

fn commands(command: &Command) -> Vec<Block> {
    let below = command.get_subcommands().filter(|one| !one.is_hide_set());
    let below = below.map(|one| Block::Item {
        term: one.get_name().to_owned(),
        text: ended(&text(one.get_about())),
    });
    below.collect()
}

fn arguments(command: &Command) -> Vec<Block> {
    let arguments = command.get_positionals().filter(|arg| !arg.is_hide_set());
    arguments
        .map(|arg| explained(arg, placeholder(arg)))
        .collect()
}

/// Returns the options of a command; options below a heading of their own come last. Options of
/// every command are only on the program's page.
fn options(command: &Command, root: &Command) -> Vec<Block> {
    let is_root = std::ptr::eq(command, root);
    let is_own = |arg: &&Arg| is_root || !(arg.is_global_set() || arg.get_id() == "help");
    let shown: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_positional() && !arg.is_hide_set())
        .filter(is_own)
        .collect();
    let mut blocks = Vec::new();
    let mut headings: Vec<Option<&str>> = vec![None];
    headings.extend(
        shown
            .iter()
            .filter_map(|arg| arg.get_help_heading().map(Some)),
    );
    headings.dedup();
    for heading in headings {
        let of_heading = shown.iter().filter(|arg| arg.get_help_heading() == heading);
        blocks.extend(heading.map(|heading| Block::Heading(heading.to_owned())));
        blocks.extend(of_heading.map(|arg| explained(arg, option(arg))));
    }
    let has_global = root.get_arguments().any(Arg::is_global_set);
    if !is_root && has_global {
        let name = root.get_name();
        blocks.push(Block::Paragraph(format!(
            "{name}(1) lists the options that every command has."
        )));
    }
    blocks
}

/// Returns `-o, --output FORM`.
fn option(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let mut term: String = [short, long]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ");
    if arg.get_action().takes_values() {
        let is_optional = arg
            .get_num_args()
            .is_some_and(|range| range.min_values() == 0);
        let value = names(arg);
        term.push_str(if is_optional { "[=" } else { " " });
        term.push_str(&value);
        term.push_str(if is_optional { "]" } else { "" });
    }
    term
}

fn names(arg: &Arg) -> String {
    match arg.get_value_names() {
        Some(names) => names
            .iter()
            .map(clap::builder::Str::as_str)
            .collect::<Vec<_>>()
            .join(" "),
        None => arg.get_id().as_str().to_uppercase(),
    }
}

fn placeholder(arg: &Arg) -> String {
    let repeats = arg
        .get_num_args()
        .is_some_and(|range| range.max_values() > 1);
    let name = names(arg) + if repeats { "..." } else { "" };
    if arg.is_required_set() {
        name
    } else {
        format!("[{name}]")
    }
}

fn explained(arg: &Arg, term: String) -> Block {
    let help = text(arg.get_long_help().or(arg.get_help()));
    let mut help = vec![ended(&help.replace("\n\n", " ").replace('\n', " "))];
    let shown = arg.get_possible_values();
    let shown: Vec<&PossibleValue> = shown.iter().filter(|value| !value.is_hide_set()).collect();
    if arg.get_action().takes_values() && !shown.is_empty() && !arg.is_hide_possible_values_set() {
        let with_help = shown.iter().map(|value| match value.get_help() {
            Some(help) => format!("`{}` ({})", value.get_name(), lowered(&help.to_string())),
            None => format!("`{}`", value.get_name()),
        });
        let values = with_help.collect::<Vec<_>>().join(", ");
        help.push(format!("Possible values: {values}."));
    }
    let defaults = arg.get_default_values();
    if arg.get_action().takes_values() && !defaults.is_empty() && !arg.is_hide_default_value_set() {
        let default = defaults.iter().map(|value| value.to_string_lossy());
        let default = default.collect::<Vec<_>>().join(" ");
        if !default.is_empty() {
            help.push(format!("Default: `{default}`."));
        }
    }
    Block::Item {
        term,
        text: help.join(" "),
    }
}

fn lowered(help: &str) -> String {
    let mut letters = help.chars();
    let first = letters.next().map(|first| first.to_lowercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

fn items(pairs: &[(&str, &str)]) -> Vec<Block> {
    let items = pairs.iter().map(|&(term, text)| Block::Item {
        term: term.to_owned(),
        text: ended(text),
    });
    items.collect()
}

fn environment(command: &Command, root: &Command, program: &Program) -> Vec<Block> {
    let own = command.get_arguments().filter(|arg| !arg.is_global_set());
    let own = own.filter_map(|arg| Some((arg, arg.get_env()?)));
    let mut blocks: Vec<Block> = own
        .map(|(arg, name)| Block::Item {
            term: name.to_string_lossy().into_owned(),
            text: format!("Sets `{}`; the option overrides the variable.", option(arg)),
        })
        .collect();
    if std::ptr::eq(command, root) {
        blocks.extend(program.environment.iter().map(|(name, text)| Block::Item {
            term: name.clone(),
            text: ended(text),
        }));
    } else if !program.environment.is_empty() {
        blocks.push(Block::Paragraph(format!(
            "{}({}) lists the variables that every command reads.",
            root.get_name(),
            program.section
        )));
    }
    blocks
}

fn see_also(command: &Command, root: &Command, program: &Program) -> Vec<Block> {
    let name = name_of(command);
    let page = |name: &str| format!("{name}({})", program.section);
    let mut names = Vec::new();
    if !std::ptr::eq(command, root) {
        names.push(page(root.get_name()));
        if let Some((parent, _)) = name.rsplit_once(&format!("-{}", command.get_name()))
            && parent != root.get_name()
        {
            names.push(page(parent));
        }
    }
    let below = command.get_subcommands().filter(|one| !one.is_hide_set());
    names.extend(below.map(|one| page(&name_of(one))));
    let own = name.strip_prefix(root.get_name()).unwrap_or_default();
    let own = own.trim_start_matches('-');
    let related = program.related.iter().filter(|(name, _)| *name == own);
    for &other in related.flat_map(|(_, others)| *others) {
        names.push(if other.contains('(') {
            other.to_owned()
        } else {
            page(&format!("{}-{other}", root.get_name()))
        });
    }
    if std::ptr::eq(command, root) {
        names.extend(program.see_also.iter().map(|&name| name.to_owned()));
    }
    if names.is_empty() {
        Vec::new()
    } else {
        vec![Block::Paragraph(names.join(", "))]
    }
}
