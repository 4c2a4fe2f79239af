//! Rows of text in columns, made to fit a terminal.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr as _;

use super::{BOLD, Layout, sanitize};

const NARROWEST: usize = 8;
const BETWEEN: usize = 2;

/// Writes a heading and rows. Where they do not fit, the widest of the `elastic` columns gives way
/// until they do, or until none of them can.
pub(crate) fn write<const N: usize>(
    out: &mut dyn Write,
    names: [&str; N],
    elastic: &[usize],
    rows: &[[String; N]],
    layout: Layout,
) -> io::Result<()> {
    let mut widths = names.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.width().max(*width);
        }
    }
    if let Some(most) = layout.width {
        while widths.iter().sum::<usize>() + BETWEEN * N.saturating_sub(1) > most {
            let widest = elastic.iter().copied().max_by_key(|&column| widths[column]);
            match widest {
                Some(column) if widths[column] > NARROWEST => widths[column] -= 1,
                _ => break,
            }
        }
    }
    let names = line(&names.map(str::to_owned), &widths);
    writeln!(out, "{BOLD}{names}{BOLD:#}")?;
    for row in rows {
        writeln!(out, "{}", line(row, &widths))?;
    }
    Ok(())
}

fn line<const N: usize>(row: &[String; N], widths: &[usize; N]) -> String {
    let mut line = String::new();
    let mut owed = 0;
    for (cell, &width) in row.iter().zip(widths) {
        line.extend(std::iter::repeat_n(' ', owed));
        let cell = sanitize::fit(cell, width);
        owed = width.saturating_sub(cell.width()) + BETWEEN;
        line += &cell;
    }
    line
}
