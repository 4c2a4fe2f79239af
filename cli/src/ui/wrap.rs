//! Breaks a text into lines of a given width.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Breaks `text` into lines of at most `width` columns: after a blank or a separator of a name, or anywhere
/// if there is none. A text of more than `most` lines loses its middle, because the end of a name often
/// distinguishes it.
pub(crate) fn wrapped(text: &str, width: usize, most: usize) -> Vec<String> {
    // A wide character may leave one column of a line empty.
    let room = width.saturating_sub(1).max(1).saturating_mul(most);
    let mut shortened = without_middle(text, room);
    // Breaks at blanks may need more lines.
    let mut lines = broken(&shortened, width);
    let mut room = room;
    while lines.len() > most && room > 1 {
        room = room.saturating_sub(width.div_ceil(2)).max(1);
        shortened = without_middle(text, room);
        lines = broken(&shortened, width);
    }
    lines
}

/// Cuts the middle of `text`, so that it has `columns`, with `…` in its place.
fn without_middle(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let half = columns.saturating_sub(1);
    let (front, back) = (half.div_ceil(2), half / 2);
    let mut used = 0;
    let begin: String = text
        .chars()
        .take_while(|c| fits(*c, &mut used, front))
        .collect();
    used = 0;
    let end: Vec<char> = text
        .chars()
        .rev()
        .take_while(|c| fits(*c, &mut used, back))
        .collect();
    begin + "…" + &end.into_iter().rev().collect::<String>()
}

fn fits(c: char, used: &mut usize, room: usize) -> bool {
    *used += c.width().unwrap_or(0);
    *used <= room
}

fn broken(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text;
    while rest.width() > width {
        let (line, after) = rest.split_at(break_at(rest, width));
        lines.push(line.trim_end_matches(' ').to_owned());
        rest = after.trim_start_matches(' ');
    }
    if !rest.is_empty() || lines.is_empty() {
        lines.push(rest.to_owned());
    }
    lines
}

/// Returns the end of the first line of `text`, which is wider than `width`.
fn break_at(text: &str, width: usize) -> usize {
    let mut used = 0;
    let mut hard = text.chars().next().map_or(0, char::len_utf8);
    let mut soft = None;
    for (index, c) in text.char_indices() {
        used += c.width().unwrap_or(0);
        if used > width {
            // A blank at the end of a line needs no column.
            if c == ' ' {
                soft = Some(index);
            }
            break;
        }
        hard = index + c.len_utf8();
        let joins = matches!(c, '-' | '@' | ',' | '/' | ':' | '.' | '_') && used * 2 >= width;
        if (c == ' ' || joins) && hard < text.len() {
            soft = Some(hard);
        }
    }
    soft.unwrap_or(hard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_break_at_separators() {
        assert_eq!(wrapped("deploy@web-1", 10, 4), ["deploy@", "web-1"]);
        assert_eq!(wrapped("so far complete", 10, 4), ["so far", "complete"]);
        assert_eq!(wrapped("complete, late", 9, 4), ["complete,", "late"]);
        assert_eq!(wrapped("abcdefgh", 3, 4), ["abc", "def", "gh"]);
        assert_eq!(wrapped("日本語", 5, 4), ["日本", "語"]);
        assert_eq!(wrapped("", 5, 4), [""]);
        assert_eq!(wrapped("日", 1, 4), ["日"]);
    }

    #[test]
    fn long_names_stay_distinguishable() {
        let name = |end: &str| format!("userpass-{}-{end}", "x".repeat(900));
        let (one, other) = (wrapped(&name("anna"), 10, 3), wrapped(&name("otto"), 10, 3));
        assert!(one.len() <= 3 && other.len() <= 3, "{one:?}");
        assert!(one.concat().ends_with("anna") && other.concat().ends_with("otto"));
        assert!(one.concat().starts_with("userpass-") && one.concat().contains('…'));
    }
}
