//! The order of hosts in lists. Numbers in names are compared as numbers: `web-2` comes before `web-10`.

use std::cmp::Ordering;

use super::Host;

/// Sorts hosts by data centre and name.
pub(crate) fn sort(hosts: &mut [Host]) {
    hosts.sort_by(|one, other| {
        by_name(&one.dc, &other.dc).then_with(|| by_name(&one.name, &other.name))
    });
}

/// Compares two names. Names that differ only in leading zeros are compared as text.
pub(crate) fn by_name(one: &str, other: &str) -> Ordering {
    let (mut left, mut right) = (one.as_bytes(), other.as_bytes());
    while let (Some(first), Some(second)) = (left.first(), right.first()) {
        let order = if first.is_ascii_digit() && second.is_ascii_digit() {
            by_value(take_number(&mut left), take_number(&mut right))
        } else {
            (left, right) = (&left[1..], &right[1..]);
            first.cmp(second)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    left.len().cmp(&right.len()).then_with(|| one.cmp(other))
}

/// Takes the digits at the beginning, and returns them without leading zeros.
fn take_number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(length);
    *text = rest;
    let zeros = number.iter().take_while(|digit| **digit == b'0').count();
    &number[zeros..]
}

fn by_value(one: &[u8], other: &[u8]) -> Ordering {
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_in_a_name_count_as_numbers() {
        let sorted = [
            "10.0.0.9",
            "10.0.0.10",
            "db",
            "db-1",
            "db-02",
            "db-2",
            "db-10",
            "db-10-a",
            "db-x",
            "rack2-node10",
            "rack10-node2",
            "web-99999999999999999998",
            "web-99999999999999999999",
        ];
        let mut shuffled = sorted;
        shuffled.reverse();
        shuffled.sort_by(|one, other| by_name(one, other));
        assert_eq!(shuffled, sorted);
    }

    proptest! {
        #[test]
        fn the_order_of_names_is_total(names in prop::collection::vec("[a0-9é-]{0,5}", 3)) {
            let [one, two, three] = [&names[0], &names[1], &names[2]];
            prop_assert_eq!(by_name(one, two), by_name(two, one).reverse());
            prop_assert_eq!(by_name(one, two) == Ordering::Equal, one == two);
            if by_name(one, two).is_le() && by_name(two, three).is_le() {
                prop_assert!(by_name(one, three).is_le());
            }
        }
    }
}
