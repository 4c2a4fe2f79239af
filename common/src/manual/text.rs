//! Formats a page as plain text, for a terminal.

use super::block::Block;
use super::page::Page;

/// Columns before the text of a section, and before an explanation.
const INDENT: usize = 4;
const DEEP: usize = 8;

const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

impl Page {
    /// Returns the page in lines of at most `width` columns, except for words that are wider.
    /// Headings are bold; the code that prints them removes the colours where needed.
    pub fn to_text(&self, width: usize) -> String {
        let mut out = String::new();
        for (index, section) in self.sections.iter().enumerate() {
            if index > 0 {
                out.push('\n');
            }
            out.extend([BOLD, section.title, PLAIN, "\n"]);
            let mut was_item = true;
            for (index, block) in section.blocks.iter().enumerate() {
                let is_item = matches!(block, Block::Item { .. } | Block::Usage(_));
                if index > 0 && !(is_item && was_item) {
                    out.push('\n');
                }
                was_item = is_item;
                write(&mut out, block, width);
            }
        }
        out
    }
}

fn write(out: &mut String, block: &Block, width: usize) {
    match block {
        Block::Paragraph(text) | Block::Usage(text) => wrap(out, text, INDENT, width),
        Block::Heading(text) => out.extend(["  ", BOLD, text, PLAIN, "\n"]),
        Block::Item { term, text } if INDENT + term.len() < DEEP && !text.is_empty() => {
            let mut wrapped = String::new();
            wrap(&mut wrapped, text, DEEP, width);
            let beside = wrapped.get(INDENT + term.len()..).unwrap_or_default();
            out.extend([&" ".repeat(INDENT), BOLD, term, PLAIN, beside]);
        }
        Block::Item { term, text } => {
            // Not wrapped: the user may want to copy it.
            out.extend([&" ".repeat(INDENT), BOLD, term, PLAIN, "\n"]);
            if !text.is_empty() {
                wrap(out, text, DEEP, width);
            }
        }
    }
}

/// Breaks lines between words.
fn wrap(out: &mut String, text: &str, indent: usize, width: usize) {
    let mut used = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            out.push('\n');
            used = 0;
        }
        if used == 0 {
            out.push_str(&" ".repeat(indent));
            used = indent;
        } else {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += length;
    }
    out.push('\n');
}
