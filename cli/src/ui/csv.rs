//! Lines of CSV (RFC 4180) that a spreadsheet takes as they are.
//!
//! The crate csv was considered: for writing, it would only replace the quoting.

use std::io::{self, Write};

/// Writes one line. The cells are text for people: nothing in them breaks a line.
pub(crate) fn write_record(out: &mut dyn Write, cells: &[String]) -> io::Result<()> {
    for (index, cell) in cells.iter().enumerate() {
        let before = if index == 0 { "" } else { "," };
        write!(out, "{before}{}", field(cell))?;
    }
    out.write_all(b"\r\n")
}

/// Returns a cell as CSV has it. A spreadsheet takes a cell that begins like a formula for one, so
/// such a cell gets a quote in front, as spreadsheets themselves write it. A number below zero is one.
fn field(cell: &str) -> String {
    let is_number = cell.parse::<i64>().is_ok() && !cell.starts_with('+');
    let harmless = if cell != "-" && !is_number && cell.starts_with(['=', '+', '-', '@']) {
        format!("'{cell}")
    } else {
        cell.to_owned()
    };
    if harmless.contains([',', '"', ' ', '\'']) {
        format!("\"{}\"", harmless.replace('"', "\"\""))
    } else {
        harmless
    }
}
