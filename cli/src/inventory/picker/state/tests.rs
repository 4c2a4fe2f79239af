use proptest::prelude::*;
use unicode_width::UnicodeWidthStr as _;

use super::*;
use crate::inventory::tests::host;

fn hosts(names: &[(&str, &str)]) -> Vec<Host> {
    let host = |&(name, dc): &(&str, &str)| Host {
        dc: dc.to_owned(),
        ..host(name)
    };
    names.iter().map(host).collect()
}

fn four() -> Picker {
    Picker::new(
        hosts(&[
            ("web-1", "seoul"),
            ("web-2", "incheon"),
            ("db-1", "seoul"),
            ("old", "busan"),
        ]),
        &PickerContext::default(),
    )
}

fn typed(picker: &mut Picker, text: &str) {
    for c in text.chars() {
        assert_eq!(picker.press(PickerKey::Character(c)), PickerStep::Stay);
    }
}

fn shown(picker: &mut Picker) -> Vec<String> {
    let lines = picker.draw(80, 24);
    let hosts = lines.iter().skip(3);
    hosts
        .map(|line| line.text[2..].split(' ').next().unwrap().to_owned())
        .collect()
}

#[test]
fn a_query_matches_letters_with_gaps() {
    let mut picker = four();
    typed(&mut picker, "w2");
    // The address of the other has a 2, too; the best is first.
    assert_eq!(shown(&mut picker), ["web-2", "web-1"]);
    assert_eq!(picker.press(PickerKey::Enter), PickerStep::Chosen(1));
    picker.press(PickerKey::Clear);
    typed(&mut picker, "seo B1");
    let mut both = shown(&mut picker);
    both.sort_unstable();
    assert_eq!(both, ["db-1", "web-1"]);
    picker.press(PickerKey::Backspace);
    typed(&mut picker, "!^nobody");
    assert_eq!(shown(&mut picker), [""; 0]);
    assert_eq!(picker.press(PickerKey::Enter), PickerStep::Stay);
    assert_eq!(picker.press(PickerKey::Cancel), PickerStep::Cancelled);
}

#[test]
fn left_and_right_cycle_through_data_centres() {
    let mut picker = four();
    let mut seen = Vec::new();
    for _ in 0..4 {
        picker.press(PickerKey::Right);
        seen.push(shown(&mut picker).join(" "));
    }
    assert_eq!(seen, ["old", "web-2", "db-1 web-1", "old web-2 db-1 web-1"]);
    picker.press(PickerKey::Left);
    assert_eq!(shown(&mut picker), ["db-1", "web-1"]);
}

#[test]
fn the_cursor_stays_on_the_list_and_on_the_screen() {
    let names: Vec<String> = (0..100).map(|n| format!("h{n:02}")).collect();
    let names: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "dc")).collect();
    let mut picker = Picker::new(hosts(&names), &PickerContext::default());
    for (key, chosen) in [
        (PickerKey::Up, 0),
        (PickerKey::Down, 1),
        (PickerKey::PageDown, 8),
        (PickerKey::PageUp, 1),
    ] {
        picker.draw(80, 10);
        picker.press(key);
        assert_eq!(
            picker.press(PickerKey::Enter),
            PickerStep::Chosen(chosen),
            "{key:?}"
        );
    }
    for _ in 0..200 {
        picker.press(PickerKey::Down);
        let lines = picker.draw(80, 10);
        assert_eq!(lines.iter().filter(|line| line.is_here).count(), 1);
    }
    assert_eq!(picker.press(PickerKey::Enter), PickerStep::Chosen(99));
}

#[test]
fn results_do_not_depend_on_the_order_of_typing() {
    let names: Vec<String> = (0..3_000)
        .map(|n| format!("web-{}", n * 7 % 3_000))
        .collect();
    let names: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "dc")).collect();
    let fresh = |query: &str| {
        let mut picker = Picker::new(hosts(&names), &PickerContext::default());
        picker.query = query.to_owned();
        picker.ranked = vec![picker.rank('x')];
        picker.show();
        picker.found
    };
    let mut picker = Picker::new(hosts(&names), &PickerContext::default());
    let mut query = String::new();
    for key in "w1x\u{8}2 7\u{8}\u{8}\u{8}é\u{8}9 b".chars() {
        if key == '\u{8}' {
            query.pop();
            picker.press(PickerKey::Backspace);
        } else {
            query.push(key);
            picker.press(PickerKey::Character(key));
        }
        assert_eq!(picker.found, fresh(&query), "{query:?}");
    }
    assert!(!picker.found.is_empty());
}

fn any_key() -> impl Strategy<Value = PickerKey> {
    prop_oneof![
        any::<char>().prop_map(PickerKey::Character),
        "[a-z0-9 -]".prop_map(|text| PickerKey::Character(text.chars().next().unwrap())),
        Just(PickerKey::Backspace),
        Just(PickerKey::Clear),
        Just(PickerKey::Up),
        Just(PickerKey::Down),
        Just(PickerKey::PageUp),
        Just(PickerKey::PageDown),
        Just(PickerKey::Left),
        Just(PickerKey::Right),
        Just(PickerKey::Enter),
    ]
}

proptest! {
    #[test]
    fn any_keys_and_screen_sizes_are_handled(
        keys in prop::collection::vec((any_key(), 0_usize..9, 0_usize..9), 0..60)
    ) {
        let mut picker = four();
        for (key, columns, rows) in keys {
            picker.press(key);
            let lines = picker.draw(columns, rows);
            prop_assert!(lines.len() <= rows);
            prop_assert!(lines.iter().all(|line| line.text.width() <= columns));
        }
    }
}
