//! Suggestions for mistyped keys.

/// Returns the name of `names` that is most similar to a mistyped one.
pub(super) fn closest(
    name: &str,
    names: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    // One mistake in three letters is still a typing mistake; more make another word. A text longer
    // than every key is not a typing mistake, and the distance costs the product of both lengths.
    if name.len() > 40 {
        return None;
    }
    let name = name.replace('-', "_").to_ascii_lowercase();
    names
        .map(|key| (distance(&name, key), key))
        .min()
        .filter(|(distance, key)| *distance <= key.len() / 3)
        .map(|(_, key)| key)
}

/// Levenshtein distance in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
