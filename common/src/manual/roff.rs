//! Formats a page for man(1).

use roff::{Inline, Roff, bold, roman};

use super::block::Block;
use super::page::Page;

impl Page {
    /// Returns the page in the format that `man` reads.
    pub fn to_roff(&self) -> String {
        let manual = match self.section {
            "1" => "User Commands",
            _ => "System Administration",
        };
        let title = self.name.to_uppercase();
        let mut roff = Roff::new();
        let heading = [
            title.as_str(),
            self.section,
            &self.source,
            &self.source,
            manual,
        ];
        roff.control("TH", heading);
        // Without hyphenation, a copied command does not contain extra hyphens.
        roff.control("nh", []);
        for section in &self.sections {
            roff.control("SH", [section.title]);
            for (index, block) in section.blocks.iter().enumerate() {
                write(&mut roff, block, index == 0);
            }
        }
        roff.render()
    }
}

fn write(roff: &mut Roff, block: &Block, is_first: bool) {
    match block {
        Block::Paragraph(text) => {
            if !is_first {
                roff.control("PP", []);
            }
            roff.text(inlines(text));
        }
        Block::Usage(text) => {
            if !is_first {
                roff.control("br", []);
            }
            roff.text([bold(text.as_str())]);
        }
        Block::Heading(text) => {
            roff.control("SS", [text.as_str()]);
        }
        Block::Item { term, text } if text.is_empty() => {
            roff.control("PP", []);
            roff.text([bold(term.as_str())]);
        }
        Block::Item { term, text } => {
            roff.control("TP", []);
            roff.text([bold(term.as_str())]);
            roff.text(inlines(text));
        }
    }
}

/// Returns text in which words between backticks are bold.
fn inlines(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate().map(|(index, part)| {
        if index % 2 == 0 {
            roman(part)
        } else {
            bold(part)
        }
    });
    parts.collect()
}
