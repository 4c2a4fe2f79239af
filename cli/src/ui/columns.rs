//! Tables: rows of cells below headings, as wide as their content or as the terminal.
//!
//! On a terminal, no row is wider than the terminal: spare columns are left out, and long cells continue
//! on the next line, so that no name is cut. In a pipe or file, nothing is left out or cut.
//!
//! comfy-table was considered: it wraps cells, but does not decide which columns to leave out.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr as _;

use super::wrap::wrapped;
use super::{BOLD, Layout};

/// The headings of a table of `N` columns.
pub(crate) struct Columns<const N: usize> {
    pub(crate) names: [&'static str; N],
    /// Columns that become narrower first.
    pub(crate) elastic: &'static [usize],
    /// Columns that a narrow terminal leaves out, in this order; `-o wide` shows them.
    pub(crate) spare: &'static [usize],
}

/// Minimum width of an elastic column before a spare column is left out.
const COMFORTABLE: usize = 10;
const NARROWEST: usize = 4;
/// Maximum width to pad a column to. A wider cell is not cut, and shifts only its own row.
const WIDEST: usize = 256;
const BETWEEN: usize = 2;
/// Maximum number of lines of a cell. The middle of a longer one is cut.
const MOST_LINES: usize = 6;

/// The width of each column; `None` for a column that is left out.
type Widths<const N: usize> = [Option<usize>; N];

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
            .try_for_each(|row| write_row(out, row, &widths, layout.width.is_some()))
    }

    /// Writes groups of rows, each below its title, with the same column widths.
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
                write_row(out, row, &widths, layout.width.is_some())?;
            }
        }
        Ok(())
    }

    /// Returns whether all columns fit into the width.
    pub(crate) fn fits(&self, rows: &[[String; N]], layout: Layout) -> bool {
        let natural = total(self.widths(rows).into_iter());
        layout.width.is_none_or(|width| natural <= width)
    }

    fn write_names(&self, out: &mut dyn Write, widths: &Widths<N>) -> io::Result<()> {
        write!(out, "{BOLD}")?;
        // Wraps headings too: a column may be narrower than its heading.
        write_row(out, &self.names.map(str::to_owned), widths, true)?;
        write!(out, "{BOLD:#}")
    }

    fn widths<'a>(&self, rows: impl IntoIterator<Item = &'a [String; N]>) -> [usize; N] {
        let mut widths = self.names.map(str::len);
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.width().min(WIDEST).max(*width);
            }
        }
        widths
    }

    fn fit(&self, natural: [usize; N], width: Option<usize>) -> Widths<N> {
        let mut widths = natural.map(Some);
        let Some(width) = width else { return widths };
        let least = |column: usize, natural: usize| {
            if self.elastic.contains(&column) {
                natural.min(COMFORTABLE)
            } else {
                natural
            }
        };
        for &spare in self.spare {
            let kept = (0..N).filter(|&column| widths[column].is_some());
            if total(kept.map(|column| least(column, natural[column]))) <= width {
                break;
            }
            widths[spare] = None;
        }
        let all: [usize; N] = std::array::from_fn(|column| column);
        for columns in [self.elastic, &all] {
            while total(widths.into_iter().flatten()) > width {
                let widest = columns
                    .iter()
                    .filter_map(|&column| Some((widths[column]?, column)))
                    .max();
                match widest {
                    Some((widest, column)) if widest > NARROWEST => {
                        widths[column] = Some(widest - 1);
                    }
                    _ => break,
                }
            }
        }
        widths
    }
}

/// Returns the width of a row with columns of these widths.
fn total(widths: impl Iterator<Item = usize>) -> usize {
    let (sum, count) = widths.fold((0, 0), |(sum, count), width| (sum + width, count + 1));
    sum + BETWEEN * usize::saturating_sub(count, 1)
}

fn write_row<const N: usize>(
    out: &mut dyn Write,
    row: &[String; N],
    widths: &Widths<N>,
    wraps: bool,
) -> io::Result<()> {
    if !wraps {
        write_line(out, &row.each_ref().map(String::as_str), widths)?;
        return writeln!(out);
    }
    let cells: [Vec<String>; N] = std::array::from_fn(|column| {
        let lines = widths[column].map(|width| wrapped(&row[column], width, MOST_LINES));
        lines.unwrap_or_default()
    });
    let lines = cells.iter().map(Vec::len).max().unwrap_or(1).max(1);
    for nth in 0..lines {
        let line: [&str; N] =
            std::array::from_fn(|column| cells[column].get(nth).map_or("", String::as_str));
        write_line(out, &line, widths)?;
        writeln!(out)?;
    }
    Ok(())
}

/// Writes one line of cells, without trailing blanks.
fn write_line<const N: usize>(
    out: &mut dyn Write,
    cells: &[&str; N],
    widths: &Widths<N>,
) -> io::Result<()> {
    let mut owed = 0;
    for (cell, width) in cells.iter().zip(widths) {
        let Some(width) = width else { continue };
        if !cell.is_empty() {
            write!(out, "{:owed$}{cell}", "")?;
            owed = 0;
        }
        owed += width.saturating_sub(cell.width()) + BETWEEN;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::rendered;

    const TABLE: Columns<4> = Columns {
        names: ["NAME", "COUNT", "SPARE", "WORDS"],
        elastic: &[0, 3],
        spare: &[2],
    };

    fn table(rows: &[[&str; 4]], width: Option<usize>) -> String {
        let rows: Vec<[String; 4]> = rows.iter().map(|row| row.map(str::to_owned)).collect();
        let layout = Layout { width, full: false };
        rendered(|out| TABLE.write(out, &rows, layout))
    }

    #[test]
    fn a_long_name_goes_on_below_itself() {
        let shown = table(
            &[["userpass-alexandra-a", "7", "s", "all is well"]],
            Some(28),
        );
        assert_eq!(
            shown,
            "NAME        COUNT  WORDS\n\
             userpass-   7      all is\n\
             alexandra-         well\n\
             a\n"
        );
    }

    #[test]
    fn a_pipe_gets_all_columns_uncut() {
        let long = "n".repeat(5_000);
        let shown = table(&[[&long, "1", "spare", "w"], ["n", "2", "-", "w"]], None);
        let mut lines = shown.lines().skip(1);
        assert_eq!(
            lines.next(),
            Some(format!("{long}  1      spare  w").as_str())
        );
        assert_eq!(
            lines.next().map(str::len),
            Some(256 + 2 + 5 + 2 + 5 + 2 + 1)
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let long = "日本語の名前-".repeat(60);
        for width in 40..100 {
            let shown = table(&[[&long, &long, &long, &long]], Some(width));
            for line in shown.lines() {
                assert!(line.width() <= width, "{width}: {line}");
            }
        }
    }
}
