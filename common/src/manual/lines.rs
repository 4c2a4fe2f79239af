//! Parts of a help text that are not sentences: examples, tables of terms, exit statuses.

use super::block::Block;

/// Returns the blocks of a text. A line that ends in `:` is a heading, indented lines are items,
/// and other lines are sentences. Sections with the headings in `skip` are left out.
pub(super) fn blocks(text: &str, skip: impl Fn(&str) -> bool) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut sentences = String::new();
    let mut is_skipped = false;
    for line in text.lines() {
        let is_indented = line.starts_with(' ');
        if line.trim().is_empty() {
            end(&mut sentences, &mut blocks);
            is_skipped = false;
        } else if is_skipped {
        } else if is_indented {
            end(&mut sentences, &mut blocks);
            add_item(&mut blocks, line);
        } else if line.ends_with(':') && sentences.is_empty() {
            is_skipped = skip(line.trim_end_matches(':'));
            if !is_skipped {
                blocks.push(Block::Paragraph(line.to_owned()));
            }
        } else {
            if !sentences.is_empty() {
                sentences.push(' ');
            }
            sentences.push_str(line);
        }
    }
    end(&mut sentences, &mut blocks);
    blocks
}

/// Returns the lines of a text below `Examples:`, as items.
pub(super) fn examples(text: &str) -> Vec<Block> {
    let lines = text.lines().skip_while(|line| !line.starts_with("Example"));
    let lines = lines.skip(1).take_while(|line| line.starts_with(' '));
    let mut blocks = Vec::new();
    lines.for_each(|line| add_item(&mut blocks, line));
    blocks
}

/// Adds an item. A line that is indented by eight blanks or more continues the text of the last item.
fn add_item(blocks: &mut Vec<Block>, line: &str) {
    match blocks.last_mut() {
        Some(Block::Item { text, .. }) if !text.is_empty() && line.starts_with("        ") => {
            text.push(' ');
            text.push_str(line.trim());
        }
        _ => blocks.push(item(line)),
    }
}

fn end(sentences: &mut String, blocks: &mut Vec<Block>) {
    if !sentences.is_empty() {
        blocks.push(Block::Paragraph(std::mem::take(sentences)));
    }
}

/// Splits a line at the first two blanks, which separate a term from its meaning.
fn item(line: &str) -> Block {
    let line = line.trim();
    let (term, text) = line.split_once("  ").unwrap_or((line, ""));
    Block::Item {
        term: term.trim().to_owned(),
        text: text.trim().to_owned(),
    }
}
