//! Tests of the pages of a small command line.

use clap::{Arg, ArgAction, Command};

use super::*;

fn root() -> Command {
    let list = Command::new("list")
        .about("List things")
        .long_about("List things\n\nAll of them, `also` old ones.")
        .before_help("Examples:\n  tool list a.b     One of them\n  tool list -o name")
        .after_help("The words:\n  up    it answers, and\n        keeps its word")
        .arg(Arg::new("name").help("A name"))
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("FORM")
                .help("Form of the output")
                .value_parser(["table", "json"])
                .default_value("table"),
        );
    Command::new("tool")
        .version("1.2.3")
        .about("Do things")
        .after_help("Exit status:\n  0  success\n\nIt ends.")
        .disable_help_subcommand(true)
        .arg(
            Arg::new("quiet")
                .long("quiet")
                .global(true)
                .action(ArgAction::SetTrue)
                .help("Be quiet"),
        )
        .subcommand(list)
}

fn program() -> Program {
    Program {
        section: "1",
        exit: &[("0", "success"), ("2", "wrong usage")],
        environment: vec![("TOOL_ADDR".to_owned(), "the server".to_owned())],
        files: &[("~/.tool", "its settings")],
        see_also: &["ssh(1)"],
        related: &[("list", &["add"])],
    }
}

#[test]
fn each_section_has_its_own_part_of_the_help() {
    let pages = pages(root(), &program());
    let [tool, list] = &pages[..] else {
        panic!("{pages:?}");
    };
    let titles = |page: &Page| {
        page.sections
            .iter()
            .map(|one| one.title)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        titles(list),
        [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "ARGUMENTS",
            "OPTIONS",
            "EXAMPLES",
            "EXIT STATUS",
            "ENVIRONMENT",
            "SEE ALSO"
        ]
    );
    assert!(titles(tool).contains(&"FILES"));
    let text = list.to_text(100);
    for part in [
        "tool-list - List things",
        "    tool list [OPTIONS] [name]\n",
        "-o, --output FORM",
        "Possible values: `table`, `json`. Default: `table`.",
        "tool list a.b",
        "wrong usage.",
        "tool(1), tool-add(1)",
        "it answers, and keeps its word",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    assert!(!text.contains("--quiet"), "{text}");
    let tool = tool.to_text(60);
    assert!(tool.contains("--quiet"), "{tool}");
    assert_eq!(tool.matches("success").count(), 1, "{tool}");
}

#[test]
fn the_source_for_man_has_no_unescaped_control_line() {
    let page = &pages(root(), &program())[1];
    let source = page.to_roff();
    assert!(source.contains(".TH TOOL-LIST 1"), "{source}");
    assert!(source.contains("\\fBalso\\fR"), "{source}");
    for line in source.lines().filter(|line| line.starts_with('.')) {
        let name = line.split(' ').next().unwrap();
        assert!(
            [
                ".TH", ".SH", ".SS", ".PP", ".TP", ".nh", ".br", ".ie", ".el"
            ]
            .contains(&name),
            "{line}"
        );
    }
}

#[test]
fn lines_of_the_text_are_no_wider_than_asked() {
    for page in pages(root(), &program()) {
        for line in page.to_text(40).lines() {
            let line = line.replace("\x1b[1m", "").replace("\x1b[0m", "");
            assert!(line.chars().count() <= 40, "{line}");
        }
    }
}
