//! A picker for a short list of lines: the user chooses one, or several with the space bar.

use std::collections::BTreeSet;

use super::state::{PickerKey, PickerState, PickerStep, ScreenLine};
use crate::error::Stop;
use crate::ui::sanitize;

/// Maximum length of the query.
const LONGEST: usize = 128;

/// The help line: for 80 columns, and for less.
const KEYS_OF_ONE: [&str; 2] = [
    "  Enter choose · ↑/↓ move · type to search · Esc cancel",
    "  Enter choose · Esc cancel",
];
const KEYS_OF_SEVERAL: [&str; 2] = [
    "  Space select · Enter finish · ↑/↓ move · type to search · Esc cancel",
    "  Space select · Enter finish · Esc cancel",
];

/// Returns the index of the chosen line. The caller has checked that there is a terminal.
pub(crate) async fn choose_one(title: &str, lines: Vec<String>) -> Result<usize, Stop> {
    let chosen = run(ListPicker::new(title, lines, Mode::One)).await?;
    chosen.first().copied().ok_or(Stop::Interrupted)
}

/// Returns the indices of the chosen lines, which may be none. The caller has checked that there is a terminal.
pub(crate) async fn choose_several(title: &str, lines: Vec<String>) -> Result<Vec<usize>, Stop> {
    run(ListPicker::new(title, lines, Mode::Several)).await
}

async fn run(mut picker: ListPicker) -> Result<Vec<usize>, Stop> {
    if picker.lines.is_empty() {
        return Ok(Vec::new());
    }
    super::run::run(&mut picker, "list").await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    One,
    Several,
}

/// The state of the picker, without a terminal.
struct ListPicker {
    title: String,
    lines: Vec<String>,
    mode: Mode,
    query: String,
    /// Lines that contain the query, in their order.
    found: Vec<usize>,
    selected: BTreeSet<usize>,
    cursor: usize,
    /// Lines of a page in the last frame.
    page: usize,
}

impl ListPicker {
    fn new(title: &str, lines: Vec<String>, mode: Mode) -> Self {
        Self {
            title: title.to_owned(),
            found: (0..lines.len()).collect(),
            lines,
            mode,
            query: String::new(),
            selected: BTreeSet::new(),
            cursor: 0,
            page: 1,
        }
    }

    fn search(&mut self) {
        let query = self.query.to_lowercase();
        let matches = |index: &usize| self.lines[*index].to_lowercase().contains(&query);
        self.found = (0..self.lines.len()).filter(matches).collect();
        self.cursor = 0;
    }
}

impl PickerState for ListPicker {
    type Choice = Vec<usize>;

    fn press(&mut self, key: PickerKey) -> PickerStep<Vec<usize>> {
        let last = self.found.len().saturating_sub(1);
        match key {
            PickerKey::Cancel => return PickerStep::Cancelled,
            PickerKey::Enter => {
                return match (self.mode, self.found.get(self.cursor)) {
                    (Mode::Several, _) => {
                        PickerStep::Chosen(self.selected.iter().copied().collect())
                    }
                    (Mode::One, Some(&line)) => PickerStep::Chosen(vec![line]),
                    (Mode::One, None) => PickerStep::Stay,
                };
            }
            PickerKey::Character(' ') if self.mode == Mode::Several => {
                if let Some(&line) = self.found.get(self.cursor)
                    && !self.selected.remove(&line)
                {
                    self.selected.insert(line);
                }
            }
            PickerKey::Character(c) if self.query.len() < LONGEST => {
                self.query.push(c);
                self.search();
            }
            PickerKey::Character(_) | PickerKey::Left | PickerKey::Right => {}
            PickerKey::Backspace => {
                self.query.pop();
                self.search();
            }
            PickerKey::Clear => {
                self.query.clear();
                self.search();
            }
            PickerKey::Up => self.cursor = self.cursor.saturating_sub(1),
            PickerKey::Down => self.cursor = (self.cursor + 1).min(last),
            PickerKey::PageUp => self.cursor = self.cursor.saturating_sub(self.page),
            PickerKey::PageDown => self.cursor = (self.cursor + self.page).min(last),
            PickerKey::First => self.cursor = 0,
            PickerKey::Last => self.cursor = last,
        }
        PickerStep::Stay
    }

    fn draw(&mut self, columns: usize, rows: usize) -> Vec<ScreenLine> {
        let query = format!("> {}", sanitize::text(&self.query));
        let mut frame = vec![ScreenLine::plain(query)];
        if rows >= 4 {
            let count = match self.mode {
                Mode::One => format!("  {}/{}", self.found.len(), self.lines.len()),
                Mode::Several => format!(
                    "  {}/{}, {} selected",
                    self.found.len(),
                    self.lines.len(),
                    self.selected.len()
                ),
            };
            frame.push(ScreenLine::dim(format!(
                "  {}{count}",
                sanitize::text(&self.title)
            )));
        }
        if rows >= 6 {
            let keys = match self.mode {
                Mode::One => KEYS_OF_ONE,
                Mode::Several => KEYS_OF_SEVERAL,
            };
            frame.push(ScreenLine::keys(keys, columns));
        }
        let room = rows.saturating_sub(frame.len());
        self.page = room.max(1);
        let top = self.cursor - self.cursor % self.page;
        for (place, &line) in self.found.iter().enumerate().skip(top).take(room) {
            let is_here = place == self.cursor;
            let here = if is_here { "> " } else { "  " };
            let mark = match (self.mode, self.selected.contains(&line)) {
                (Mode::One, _) => "",
                (Mode::Several, true) => "[x] ",
                (Mode::Several, false) => "[ ] ",
            };
            frame.push(ScreenLine {
                text: format!("{here}{mark}{}", sanitize::text(&self.lines[line])),
                is_here,
                is_dim: false,
            });
        }
        frame.truncate(rows);
        for line in &mut frame {
            line.text = sanitize::fit(&line.text, columns);
        }
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picker(mode: Mode) -> ListPicker {
        let lines = ["*  every command", "ssh", "exec", "trust-ca"];
        ListPicker::new("Grant", lines.map(str::to_owned).to_vec(), mode)
    }

    #[test]
    fn a_narrow_terminal_still_shows_how_to_finish_and_cancel() {
        let mut picker = picker(Mode::Several);
        for (columns, shown) in [
            (80, "type to search"),
            (60, "Enter finish"),
            (45, "Esc cancel"),
        ] {
            let keys = picker.draw(columns, 24).swap_remove(2).text;
            assert!(
                keys.contains(shown) && keys.ends_with("Esc cancel"),
                "{keys}"
            );
        }
    }

    #[test]
    fn several_lines_are_selected_with_the_space_bar() {
        let mut picker = picker(Mode::Several);
        for key in [PickerKey::Down, PickerKey::Character(' '), PickerKey::Last] {
            assert_eq!(picker.press(key), PickerStep::Stay);
        }
        picker.press(PickerKey::Character(' '));
        let frame = picker.draw(80, 24);
        assert!(frame.iter().any(|line| line.text == "> [x] trust-ca"));
        assert!(frame.iter().any(|line| line.text == "  [ ] exec"));
        assert!(frame[1].text.contains("2 selected"), "{}", frame[1].text);
        // The space bar also removes a selection.
        picker.press(PickerKey::Character(' '));
        assert_eq!(picker.press(PickerKey::Enter), PickerStep::Chosen(vec![1]));
    }

    #[test]
    fn a_selection_stays_while_the_user_searches() {
        let mut picker = picker(Mode::Several);
        picker.press(PickerKey::Character(' '));
        for c in "EX".chars() {
            picker.press(PickerKey::Character(c));
        }
        assert_eq!(picker.found, [2]);
        picker.press(PickerKey::Character(' '));
        picker.press(PickerKey::Clear);
        assert_eq!(
            picker.press(PickerKey::Enter),
            PickerStep::Chosen(vec![0, 2])
        );
        assert_eq!(picker.press(PickerKey::Cancel), PickerStep::Cancelled);
    }

    #[test]
    fn one_line_is_chosen_with_enter() {
        let mut picker = picker(Mode::One);
        picker.press(PickerKey::Character('t'));
        picker.press(PickerKey::Character('r'));
        assert_eq!(picker.press(PickerKey::Enter), PickerStep::Chosen(vec![3]));
        picker.press(PickerKey::Character('z'));
        assert_eq!(picker.press(PickerKey::Enter), PickerStep::Stay);
        // A name from Vault cannot write to the terminal.
        let mut hostile = ListPicker::new("x", vec!["\u{1b}[2Jx".to_owned()], Mode::One);
        let text = hostile.draw(80, 24).pop().unwrap().text;
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}
