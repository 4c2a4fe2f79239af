//! The state of a picker: hosts, query and cursor, without a terminal.

use std::cmp::Reverse;
use std::collections::HashMap;

use frizbee::{CaseMatching, Config, Matcher, Pattern, PatternConfig};
use unicode_width::UnicodeWidthStr as _;
use vctl_common::charset;

use super::context::PickerContext;
use crate::inventory::table::{address, live};
use crate::inventory::{Host, order};
use crate::ui::sanitize;

/// A key, by its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PickerKey {
    Character(char),
    Backspace,
    /// Clears the query.
    Clear,
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Left,
    Right,
    Enter,
    Cancel,
}

/// The result of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PickerStep<T> {
    Stay,
    Chosen(T),
    Cancelled,
}

/// A picker without its terminal.
pub(super) trait PickerState {
    type Choice;

    /// Changes the state by a key, and returns whether the user has chosen.
    fn press(&mut self, key: PickerKey) -> PickerStep<Self::Choice>;

    /// Returns the lines of a frame, with the line of the cursor marked.
    fn draw(&mut self, columns: usize, rows: usize) -> Vec<ScreenLine>;
}

/// A picker. It does not know the size of the screen, except the lines of a page.
pub(super) struct Picker {
    hosts: Vec<Host>,
    /// Text to search, for each host: name, data centre, address, user.
    texts: Vec<String>,
    /// Column LIVE of `vctl list`, for each host.
    live: Vec<String>,
    /// Data centres, sorted.
    dcs: Vec<String>,
    /// The chosen data centre; `None` means all.
    dc: Option<usize>,
    query: String,
    /// Results for each prefix of the query, the best first: one list for each typed character. Backspace
    /// needs no search, and a further character searches only the last list.
    ranked: Vec<Vec<usize>>,
    /// Results in the chosen data centre.
    found: Vec<usize>,
    cursor: usize,
    /// Lines of a page in the last frame.
    page: usize,
}

/// Maximum length of the query, so that a large paste by mistake does not take long.
const LONGEST: usize = 128;

/// The help line: for 80 columns, and for less.
const KEYS: [&str; 2] = [
    "  Enter choose · ↑/↓ move · ←/→ data centre · Ctrl-U clear · Esc cancel",
    "  Enter choose · ←/→ data centre · Esc cancel",
];

impl Picker {
    /// Returns a picker. Recently used hosts come first, then the others by data centre and name.
    pub(super) fn new(mut hosts: Vec<Host>, known: &PickerContext) -> Self {
        let mut dcs: Vec<String> = hosts.iter().map(|host| host.dc.clone()).collect();
        dcs.sort_by(|one, other| order::by_name(one, other));
        dcs.dedup();
        order::sort(&mut hosts);
        let places = known.recent.iter().zip(0..);
        let places: HashMap<&String, usize> = places.collect();
        hosts.sort_by_key(|host| places.get(&host.name).copied().unwrap_or(usize::MAX));
        let texts = hosts.iter().map(text).collect();
        let mut picker = Self {
            ranked: Vec::new(),
            found: Vec::new(),
            live: hosts.iter().map(|host| live(host, known.now)).collect(),
            hosts,
            texts,
            dcs,
            dc: None,
            query: String::new(),
            cursor: 0,
            page: 1,
        };
        picker.show();
        picker
    }

    fn move_down(&mut self, lines: usize) {
        let last = self.found.len().saturating_sub(1);
        self.cursor = self.cursor.saturating_add(lines).min(last);
    }

    /// Changes to the next data centre; "all" is between the last and the first.
    fn turn(&mut self, right: bool) {
        let count = self.dcs.len();
        if count < 2 {
            return;
        }
        self.dc = match (self.dc, right) {
            (None, true) => Some(0),
            (None, false) => Some(count - 1),
            (Some(dc), true) => Some(dc + 1).filter(|&dc| dc < count),
            (Some(dc), false) => dc.checked_sub(1),
        };
        self.show();
    }

    /// Returns the results of the query, to which the user has just added `last`.
    fn rank(&self, last: char) -> Vec<usize> {
        let before = self.ranked.last();
        if let Some(before) = before.filter(|_| last.is_whitespace()) {
            return before.clone();
        }
        // All words must match; no character has a special meaning.
        let words = self.query.split_whitespace();
        let patterns: Vec<Pattern> = words
            .map(|word| Pattern::new(word, PatternConfig::default()))
            .collect();
        if patterns.is_empty() {
            return (0..self.hosts.len()).collect();
        }
        // A longer query matches a subset, except for non-ASCII letters, which match several letters.
        let among = match before.filter(|_| self.query.is_ascii()) {
            Some(before) => in_order(before, self.hosts.len()),
            None => (0..self.hosts.len()).collect(),
        };
        let config = Config::default().casing(CaseMatching::Ignore);
        let mut matcher = Matcher::from_patterns(&patterns, &config);
        // One text at a time: the functions for lists are faster by a tenth, and add megabytes to the program.
        let texts = among.iter().map(|&host| &*self.texts[host]);
        let mut found: Vec<_> = matcher.match_iter(texts).collect();
        found.sort_by_key(|found| Reverse(found.score));
        found
            .iter()
            .map(|found| among[found.index as usize])
            .collect()
    }

    fn show(&mut self) {
        self.cursor = 0;
        let dc = self.dc.and_then(|dc| self.dcs.get(dc));
        let is_in_dc = |host: &usize| dc.is_none_or(|dc| self.hosts[*host].dc == *dc);
        self.found = match self.ranked.last() {
            Some(ranked) => ranked.iter().copied().filter(is_in_dc).collect(),
            None => (0..self.hosts.len()).filter(is_in_dc).collect(),
        };
    }

    fn summary(&self) -> String {
        let dc = match self.dc.and_then(|dc| self.dcs.get(dc)) {
            Some(dc) if dc.is_empty() => "(no dc)".to_owned(),
            Some(dc) => sanitize::text(dc),
            None => "all".to_owned(),
        };
        let count = format!("  {}/{}", self.found.len(), self.hosts.len());
        format!("{count} {} {dc}", charset::shown("·"))
    }

    /// Returns name, data centre, liveness and address of a host.
    fn cells(&self, index: usize) -> [String; 4] {
        let host = &self.hosts[index];
        let jump = host.jump_via.as_ref();
        let jump = jump.map_or_else(String::new, |jump| format!(" via {}", sanitize::text(jump)));
        [
            sanitize::text(&host.name),
            sanitize::text(&host.dc),
            self.live[index].clone(),
            format!("{}@{}{jump}", sanitize::text(&host.ssh_user), address(host)),
        ]
    }

    pub(super) fn into_host(mut self, index: usize) -> Host {
        self.hosts.swap_remove(index)
    }
}

impl PickerState for Picker {
    type Choice = usize;

    fn press(&mut self, key: PickerKey) -> PickerStep<usize> {
        match key {
            PickerKey::Cancel => return PickerStep::Cancelled,
            PickerKey::Enter => {
                return match self.found.get(self.cursor) {
                    Some(&host) => PickerStep::Chosen(host),
                    None => PickerStep::Stay,
                };
            }
            PickerKey::Character(c) if self.query.len() < LONGEST => {
                self.query.push(c);
                self.ranked.push(self.rank(c));
                self.show();
            }
            PickerKey::Character(_) => {}
            PickerKey::Backspace => {
                self.query.pop();
                self.ranked.pop();
                self.show();
            }
            PickerKey::Clear => {
                self.query.clear();
                self.ranked.clear();
                self.show();
            }
            PickerKey::Up => self.cursor = self.cursor.saturating_sub(1),
            PickerKey::Down => self.move_down(1),
            PickerKey::PageUp => self.cursor = self.cursor.saturating_sub(self.page),
            PickerKey::PageDown => self.move_down(self.page),
            PickerKey::First => self.cursor = 0,
            PickerKey::Last => self.move_down(usize::MAX),
            PickerKey::Left => self.turn(false),
            PickerKey::Right => self.turn(true),
        }
        PickerStep::Stay
    }

    fn draw(&mut self, columns: usize, rows: usize) -> Vec<ScreenLine> {
        let query = format!("> {}", sanitize::text(&self.query));
        let mut lines = vec![ScreenLine::plain(query)];
        if rows >= 4 {
            lines.push(ScreenLine::dim(self.summary()));
        }
        if rows >= 6 {
            lines.push(ScreenLine::keys(KEYS, columns));
        }
        let room = rows.saturating_sub(lines.len());
        self.page = room.max(1);
        // Shows the page of the cursor.
        let top = self.cursor - self.cursor % self.page;
        let shown = self.found.iter().enumerate().skip(top).take(room);
        let cells: Vec<(usize, [String; 4])> = shown
            .map(|(place, &host)| (place, self.cells(host)))
            .collect();
        let widest = |column: usize| cells.iter().map(|(_, cells)| cells[column].width()).max();
        let widths = [0, 1, 2].map(|column| widest(column).unwrap_or(0));
        for (place, cells) in &cells {
            let is_here = *place == self.cursor;
            let mut text = if is_here { "> " } else { "  " }.to_owned();
            for (cell, width) in cells.iter().zip(widths) {
                text.push_str(cell);
                text.extend(std::iter::repeat_n(' ', width - cell.width() + 2));
            }
            text.push_str(&cells[3]);
            lines.push(ScreenLine {
                text,
                is_here,
                is_dim: false,
            });
        }
        lines.truncate(rows);
        for line in &mut lines {
            line.text = sanitize::fit(&line.text, columns);
        }
        lines
    }
}

/// Returns the given hosts in the order of all hosts, which decides between equal results.
fn in_order(hosts: &[usize], count: usize) -> Vec<usize> {
    let mut is_there = vec![false; count];
    for &host in hosts {
        is_there[host] = true;
    }
    (0..count).filter(|&host| is_there[host]).collect()
}

/// One line of the screen.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ScreenLine {
    pub(super) text: String,
    /// Whether the cursor is on this line.
    pub(super) is_here: bool,
    pub(super) is_dim: bool,
}

impl ScreenLine {
    pub(super) fn plain(text: String) -> Self {
        Self {
            text,
            is_here: false,
            is_dim: false,
        }
    }

    /// Returns the first help line that fits, or the last one.
    pub(super) fn keys(lines: [&str; 2], columns: usize) -> Self {
        let [wide, narrow] = lines.map(charset::shown);
        let fits = wide.width() <= columns;
        Self::dim(if fits { wide } else { narrow }.into_owned())
    }

    pub(super) fn dim(text: String) -> Self {
        Self {
            is_dim: true,
            ..Self::plain(text)
        }
    }
}

fn text(host: &Host) -> String {
    format!("{} {} {} {}", host.name, host.dc, host.ip, host.ssh_user)
}

#[cfg(test)]
mod tests;
