//! Unusual requests: each one ends as the documentation says.

use super::{Operator, shared};

#[test]
fn a_circular_jump_chain_is_named_before_connecting() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-circle");
    let name = |n: u32| format!("circle-{n:03}");
    for n in 0..100 {
        operator.inventory(&name(n), "127.0.0.1", 1, "root");
    }
    for n in 0..100 {
        operator.jumps(&name(n), &name((n + 1) % 100));
    }
    let said = operator.ssh(&[&name(7), "--", "true"]);
    assert_eq!(said.code, 78, "{said:?}");
    assert!(said.stderr.contains("`circle-007`"), "{}", said.stderr);
    assert!(operator.accesses(&name(7)).is_empty());
}

#[test]
fn a_command_of_a_megabyte_arrives_or_is_refused_and_never_cut() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-long");
    let host = centre.host.as_ref().unwrap();
    operator.knows("long-1", host);
    // The longest size is near the limit of Linux for one argument. The host's shell gets it as one word.
    for length in [1000, 100_000] {
        let script = format!("printf %s '{}' | wc -c", "x".repeat(length));
        let said = operator.ssh(&["long-1", "--", &script]);
        assert_eq!((said.code, said.stdout.trim()), (0, &*length.to_string()));
    }
    // Together, these arguments are longer than Linux allows for one argument, so the kernel of the host refuses them
    // as one.
    let word = "x".repeat(100_000);
    let mut args = vec!["long-1", "--", "echo"];
    args.extend(std::iter::repeat_n(&*word, 11));
    let said = operator.ssh(&args);
    assert_ne!(said.code, 0);
    assert_eq!(said.stdout, "", "a part of it ran");
    assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
    let rows = operator.accesses("long-1");
    assert_eq!(rows.len(), 3);
    assert_ne!(rows[2]["result"], "open");
    assert_eq!(rows[2]["command"], "echo \u{2026}");
}

#[test]
fn a_terminal_of_one_cell_is_a_terminal() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-cell");
    operator.knows("cell-1", centre.host.as_ref().unwrap());
    let mut terminal = operator.before_a_person(&["cell-1"]);
    terminal.wait_for("$ ").unwrap();
    for (rows, columns) in [(1, 1), (40, 132)] {
        terminal.resize(rows, columns).unwrap();
        let size = format!("{rows} {columns}");
        let wait = format!(
            "while [ \"$(stty size)\" != '{size}' ]; do sleep 0.05; done; printf '\\101%s\\n' {rows}\r"
        );
        terminal.type_in(&wait).unwrap();
        terminal.wait_for(&format!("A{rows}")).unwrap();
    }
    terminal.type_in("exit 3\r").unwrap();
    assert_eq!(terminal.end().unwrap().code(), Some(3));
    assert!(terminal.echoes().unwrap());
}
