//! Lines of CSV (RFC 4180) that a spreadsheet can open without running formulas.
//!
//! The crate csv was considered: for writing, it would only replace the quoting.

use std::io::{self, Write};

/// Writes one line. Cells are escaped text, so they contain no newline.
pub(crate) fn write_record(out: &mut dyn Write, cells: &[String]) -> io::Result<()> {
    for (index, cell) in cells.iter().enumerate() {
        let before = if index == 0 { "" } else { "," };
        write!(out, "{before}{}", field(cell))?;
    }
    out.write_all(b"\r\n")
}

/// Returns a cell as CSV. A spreadsheet would run a cell that begins like a formula, so such a cell gets a
/// leading apostrophe, as spreadsheets write it themselves. A negative number is not a formula.
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
