//! Turns the ring's records into those of the spool: reverses paths, masks secrets, cuts argv. No I/O.
pub mod cut;
pub mod record;

/// Turns a path in the probe's form (leaf first, each name followed by NUL) into an ordinary path.
pub fn path(names: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(names.len() + 1);
    append_path(names, &mut path);
    path
}

/// As [`path`], appended to `to`; adds at most as many bytes as `names` has, except for the root.
pub fn append_path(names: &[u8], to: &mut Vec<u8>) {
    let names = names.strip_suffix(b"\0").unwrap_or(names);
    if names.is_empty() {
        to.push(b'/');
        return;
    }
    let mut end = names.len();
    while let Some(before) = memchr::memrchr(0, &names[..end]) {
        to.push(b'/');
        to.extend_from_slice(&names[before + 1..end]);
        end = before;
    }
    to.push(b'/');
    to.extend_from_slice(&names[..end]);
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn a_path_is_turned_round() {
        assert_eq!(path(b"true\0bin\0usr\0"), b"/usr/bin/true");
        assert_eq!(path(b"x\0"), b"/x");
    }

    #[test]
    fn no_name_is_the_root() {
        assert_eq!(path(b""), b"/");
    }
}
