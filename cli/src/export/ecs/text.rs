//! Recorded bytes as text for ECS, which gives each field one type.

use vctl_common::hex;

/// Returns the bytes as text; bytes that are not UTF-8 become U+FFFD.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns all items in hexadecimal if one of them is not UTF-8, because the text does not show its bytes.
pub(crate) fn hex_if_needed<'a>(
    items: impl Iterator<Item = &'a [u8]> + Clone,
) -> Option<Vec<String>> {
    let is_text = items.clone().all(|item| std::str::from_utf8(item).is_ok());
    (!is_text).then(|| items.map(hex::encode).collect())
}

/// Returns the part behind the last slash.
pub(crate) fn name_of(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}
