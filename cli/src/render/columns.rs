//! Rows of cells below their headings, as wide as what is in them or as the terminal.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr as _;

use super::{BOLD, Layout, sanitize};

/// The headings of a table of `N` columns.
pub(crate) struct Columns<const N: usize> {
    pub(crate) names: [&'static str; N],
    /// Those that give way on a narrow terminal. What the next command needs never does.
    pub(crate) elastic: &'static [usize],
}

const NARROWEST: usize = 8;
/// A cell that is wider is cut, or one of them pads each row. Programs have forms that cut nothing.
const WIDEST: usize = 256;
/// Of the last column, which pads no row.
const WIDEST_LAST: usize = 4096;
const BETWEEN: usize = 2;

impl<const N: usize> Columns<N> {
    pub(crate) fn write(
        &self,
        out: &mut dyn Write,
        rows: &[[String; N]],
        layout: Layout,
    ) -> io::Result<()> {
        let widths = self.fit(self.widths(rows), layout.width);
        self.write_names(out, &widths)?;
        rows.iter()
            .try_for_each(|row| writeln!(out, "{}", line(row, &widths)))
    }

    /// Writes groups of rows, each below its title; the columns of all are below each other.
    pub(crate) fn write_groups(
        &self,
        out: &mut dyn Write,
        groups: &[(String, Vec<[String; N]>)],
        layout: Layout,
    ) -> io::Result<()> {
        let rows = groups.iter().flat_map(|(_, rows)| rows);
        let widths = self.fit(self.widths(rows), layout.width);
        self.write_names(out, &widths)?;
        for (title, rows) in groups {
            writeln!(out, "\n{title}")?;
            for row in rows {
                writeln!(out, "{}", line(row, &widths))?;
            }
        }
        Ok(())
    }

    fn write_names(&self, out: &mut dyn Write, widths: &[usize; N]) -> io::Result<()> {
        let names = line(&self.names.map(str::to_owned), widths);
        writeln!(out, "{BOLD}{names}{BOLD:#}")
    }

    fn widths<'a>(&self, rows: impl IntoIterator<Item = &'a [String; N]>) -> [usize; N] {
        let mut widths = self.names.map(str::len);
        for row in rows {
            for (column, (width, cell)) in widths.iter_mut().zip(row).enumerate() {
                let widest = if column + 1 == N { WIDEST_LAST } else { WIDEST };
                *width = cell.width().min(widest).max(*width);
            }
        }
        widths
    }

    /// Takes columns from the widest elastic cells until the row fits, or nothing gives way any more.
    fn fit(&self, mut widths: [usize; N], width: Option<usize>) -> [usize; N] {
        let Some(width) = width else { return widths };
        let between = BETWEEN * (N - 1);
        while widths.iter().sum::<usize>() + between > width {
            let widest = self
                .elastic
                .iter()
                .copied()
                .max_by_key(|&column| widths[column]);
            match widest {
                Some(column) if widths[column] > NARROWEST => widths[column] -= 1,
                _ => break,
            }
        }
        widths
    }
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
