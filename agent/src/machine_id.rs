//! Which machine this is, without telling its `/etc/machine-id`.
//!
//! machine-id(5) asks that the id itself is not shown around: other services may take it for a
//! secret. Two machines of one name still differ in what is made of it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ssh_key::sha2::{Digest, Sha256};
use uuid::Uuid;

/// So that it is of no use to anybody who hashes the same file for something else.
const PURPOSE: &[u8] = b"vctl machine id\0";

/// Returns the id of the machine whose files are below `root`; `None` for one that has no id yet.
pub fn read(root: &Path) -> Option<Uuid> {
    let mut text = String::new();
    let file = File::open(root.join("etc/machine-id")).ok()?;
    file.take(64).read_to_string(&mut text).ok()?;
    derive(&text)
}

/// Returns the id made of the text of `/etc/machine-id`, which is 32 hex digits.
fn derive(text: &str) -> Option<Uuid> {
    let id = text.trim();
    // An image before its first boot says `uninitialized`, and all its copies would be one machine.
    if id.len() != 32 || !id.bytes().all(|b| b.is_ascii_hexdigit()) || id.bytes().all(|b| b == b'0')
    {
        return None;
    }
    let mut hash = Sha256::new();
    hash.update(PURPOSE);
    hash.update(id.to_ascii_lowercase());
    let hash = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(hash.get(..16)?);
    // Version 8, "made by the application", and the variant bits that every UUID has.
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Some(Uuid::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "b08dfa6083e7567a1921a715000001fb\n";

    #[test]
    fn it_tells_machines_apart_and_does_not_show_their_ids() {
        let one = derive(ONE).unwrap();
        let other = derive("b08dfa6083e7567a1921a715000001fc").unwrap();
        assert_ne!(one, other);
        assert_eq!(derive(&ONE.to_uppercase()), Some(one));
        assert!(!one.simple().to_string().contains(&ONE[..8]));
        // Rows of years refer to it.
        assert_eq!(one.to_string(), "d59a6c52-71e8-8f6f-8b35-094cf232003a");
    }

    #[test]
    fn an_image_that_never_booted_has_no_id() {
        for text in ["", "uninitialized\n", "00000000000000000000000000000000"] {
            assert_eq!(derive(text), None, "{text:?}");
        }
    }
}
