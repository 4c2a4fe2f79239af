//! The code blocks of a page that a user pastes into a shell.

/// The lines of one `sh` block, with the heading above it and its number below that heading.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) heading: String,
    pub(super) number: usize,
    pub(super) lines: Vec<String>,
}

/// Returns the blocks of a page in their order.
pub(super) fn of(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut heading, mut number) = (String::new(), 0);
    let mut fence = None;
    for line in page.lines() {
        if let Some(language) = line.strip_prefix("```") {
            fence = match fence {
                None => {
                    if language == "sh" {
                        number += 1;
                        blocks.push(Block {
                            heading: heading.clone(),
                            number,
                            lines: Vec::new(),
                        });
                    }
                    Some(language)
                }
                Some(_) => None,
            };
        } else if fence == Some("sh") {
            if let (false, Some(block)) = (line.trim().is_empty(), blocks.last_mut()) {
                block.lines.push(line.to_owned());
            }
        } else if let (None, Some(text)) = (fence, line.strip_prefix("## ")) {
            (heading, number) = (text.to_owned(), 0);
        }
    }
    blocks
}

#[test]
fn blocks_are_numbered_below_their_heading() {
    let page =
        "## A\n```sh\na # b\n\nc\n```\n```text\n## no\n```\n```sh\nd\n```\n## B\n```sh\ne\n```\n";
    let blocks = of(page);
    let names: Vec<_> = blocks
        .iter()
        .map(|block| (block.heading.as_str(), block.number, block.lines.len()))
        .collect();
    assert_eq!(names, [("A", 1, 2), ("A", 2, 1), ("B", 1, 1)]);
}
