//! Lines of a PAM file as PAM reads them: without comments, and with continued lines joined.

/// One line as PAM reads it, and the lines of the file that it consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Logical {
    /// Number of the first line of the file, from 1.
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) text: String,
}

/// Splits a file into lines. A comment ends before a backslash is checked, and a comment line does
/// not end a continued line. Source: `_assemble_line` of Linux-PAM's `pam_handlers.c`.
pub(super) fn logical_lines(text: &str) -> Vec<Logical> {
    let mut lines = Vec::new();
    let mut open: Option<Logical> = None;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let kept = line.split('#').next().unwrap_or_default();
        let is_comment = kept.trim().is_empty() && line.contains('#');
        if is_comment {
            continue;
        }
        let kept = kept.trim();
        let continued = kept.strip_suffix('\\');
        let part = continued.unwrap_or(kept);
        let logical = open.get_or_insert_with(|| Logical {
            first: number,
            last: number,
            text: String::new(),
        });
        logical.last = number;
        logical.text.push_str(part);
        logical.text.push(' ');
        if continued.is_none() {
            lines.extend(open.take());
        }
    }
    lines.extend(open);
    lines.retain(|line| !line.text.trim().is_empty());
    lines
}

/// Splits at blanks, except inside `[...]`.
pub(super) fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut inside = false;
    for c in line.chars() {
        inside = (inside || c == '[') && c != ']';
        if c.is_ascii_whitespace() && !inside {
            fields.push(String::new());
        } else if let Some(field) = fields.last_mut() {
            field.push(c);
        }
    }
    fields.retain(|field| !field.is_empty());
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<(usize, usize, String)> {
        let lines = logical_lines(text).into_iter();
        lines
            .map(|line| (line.first, line.last, line.text.trim().to_owned()))
            .collect()
    }

    #[test]
    fn continued_lines_are_joined_and_keep_their_numbers() {
        let found = texts("a \\\n  b\n\nc # x \\\nd\\  \n# only a comment\n e\n");
        let expected = [
            (1, 2, "a  b".to_owned()),
            (4, 4, "c".to_owned()),
            (5, 7, "d e".to_owned()),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_file_that_ends_in_a_backslash_keeps_its_last_line() {
        assert_eq!(texts("a \\"), [(1, 1, "a".to_owned())]);
    }
}
