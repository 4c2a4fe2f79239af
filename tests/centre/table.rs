//! Tables in Markdown, which a reader checks and a spec walks.

/// One line: what it is about, and the cell of each column.
pub(crate) struct Row {
    pub name: String,
    /// Column and cell; an empty cell is an empty text.
    pub cells: Vec<(String, String)>,
}

/// Reads a table whose first column names the rows.
pub(crate) fn rows(table: &str) -> Vec<Row> {
    let mut lines = table.trim().lines().map(cells);
    let head = lines.next().unwrap();
    lines
        // Below the head is a line of dashes.
        .skip(1)
        .map(|line| {
            let cells = head.iter().cloned().zip(line.iter().cloned());
            Row {
                name: line[0].clone(),
                cells: cells.skip(1).collect(),
            }
        })
        .collect()
}

fn cells(line: &str) -> Vec<String> {
    let line = line.trim().trim_start_matches('|').trim_end_matches('|');
    let cells = line.split('|').map(|cell| cell.trim().trim_matches('`'));
    cells.map(str::to_owned).collect()
}

/// Asserts that the page for people has the very table that the spec walks.
pub(crate) fn assert_in_readme(table: &str) {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/vault/README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    assert!(
        readme.contains(table.trim()),
        "deploy/vault/README.md must have this table:\n{table}"
    );
}
