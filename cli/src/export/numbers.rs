//! The sequence numbers of a session that were exported.

use serde::{Deserialize, Serialize};

/// Numbers after which an earlier, missing number is no longer awaited: events arrive only slightly out of order.
const LATEST: u64 = 1_000;

/// A set of numbers from 1, as ranges in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub(crate) struct NumberSet(Vec<(u64, u64)>);

impl NumberSet {
    /// Returns the highest number N for which 1 to N are all in the set or no longer awaited.
    pub(crate) fn up_to(&self) -> u64 {
        match self.0.first() {
            Some((1, last)) => *last,
            _ => 0,
        }
    }

    /// Adds a number. Returns whether it is new.
    pub(crate) fn insert(&mut self, number: u64) -> bool {
        if number <= self.up_to() {
            return false;
        }
        let after = self.0.partition_point(|(_, last)| *last < number);
        if self.0.get(after).is_some_and(|(first, _)| *first <= number) {
            return false;
        }
        self.0.insert(after, (number, number));
        self.join(after);
        if after > 0 {
            self.join(after - 1);
        }
        while self.beyond() > LATEST {
            self.give_up_first();
        }
        true
    }

    /// Joins the range at `index` with the next one if no number is between them.
    fn join(&mut self, index: usize) {
        let Some(&(first, last)) = self.0.get(index + 1) else {
            return;
        };
        if self.0[index].1 + 1 == first {
            self.0[index].1 = last;
            self.0.remove(index + 1);
        }
    }

    /// Returns how many numbers are in the set behind a missing one.
    fn beyond(&self) -> u64 {
        let skipped = usize::from(self.up_to() > 0);
        let ranges = self.0.iter().skip(skipped);
        ranges.map(|(first, last)| last - first + 1).sum()
    }

    /// Gives up the first missing numbers: they count as present.
    fn give_up_first(&mut self) {
        if self.up_to() > 0 {
            self.0.remove(0);
        }
        if let Some(first) = self.0.first_mut() {
            first.0 = 1;
        }
    }
}

impl TryFrom<Vec<(u64, u64)>> for NumberSet {
    type Error = &'static str;

    fn try_from(ranges: Vec<(u64, u64)>) -> Result<Self, Self::Error> {
        let mut before = 0;
        for (index, (first, last)) in ranges.iter().enumerate() {
            let least: u64 = if index == 0 { 1 } else { before + 2 };
            if *first < least || last < first || *last > i64::MAX.unsigned_abs() {
                return Err("its ranges of sequence numbers are not in ascending order");
            }
            before = *last;
        }
        Ok(Self(ranges))
    }
}

impl From<NumberSet> for Vec<(u64, u64)> {
    fn from(numbers: NumberSet) -> Self {
        numbers.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_late_number_is_new_once() {
        let mut numbers = NumberSet::default();
        for number in [1, 2, 5, 4] {
            assert!(numbers.insert(number), "{number}");
        }
        assert_eq!((numbers.up_to(), numbers.0.len()), (2, 2));
        assert!(numbers.insert(3) && !numbers.insert(3) && !numbers.insert(5));
        assert_eq!(numbers.0, [(1, 5)]);
    }

    #[test]
    fn a_lost_number_is_not_waited_for_forever() {
        let mut numbers = NumberSet::default();
        for number in (1..=LATEST + 10).filter(|number| *number != 7) {
            assert!(numbers.insert(number));
        }
        assert_eq!(numbers.0, [(1, LATEST + 10)]);
        assert!(!numbers.insert(7));
    }

    #[test]
    fn damaged_ranges_are_refused() {
        for text in [
            "[[0,3]]",
            "[[4,3]]",
            "[[1,3],[4,5]]",
            "[[5,6],[1,2]]",
            "[[1,18446744073709551615]]",
        ] {
            assert!(serde_json::from_str::<NumberSet>(text).is_err(), "{text}");
        }
        let numbers: NumberSet = serde_json::from_str("[[1,3],[5,9]]").unwrap();
        assert_eq!(serde_json::to_string(&numbers).unwrap(), "[[1,3],[5,9]]");
    }

    proptest! {
        #[test]
        fn numbers_behave_as_a_set(added in prop::collection::vec(1_u64..400, 0..300)) {
            let (mut numbers, mut truth) = (NumberSet::default(), BTreeSet::new());
            for number in added {
                prop_assert_eq!(numbers.insert(number), truth.insert(number));
            }
            let ranges = Vec::<(u64, u64)>::from(numbers.clone());
            prop_assert_eq!(NumberSet::try_from(ranges).unwrap(), numbers);
        }
    }
}
