//! Which machine this is, so that two that use one credential are noticed.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// Returns a number of the machine whose files are below `root`, the same after a reboot; `None` where
/// nothing tells it from others.
///
/// Made from `/etc/machine-id` and, where there is one, the firmware's id: copies of one disk image
/// share the first. Neither can be got back from it: machine-id(5) asks not to pass that one on.
pub fn read(root: &Path) -> Option<Uuid> {
    let read = |path: &str| fs::read(root.join(path)).unwrap_or_default();
    let (id, product) = (
        read("etc/machine-id"),
        read("sys/class/dmi/id/product_uuid"),
    );
    let (id, product) = (id.trim_ascii(), product.trim_ascii());
    // An image before its first boot says `uninitialized`, and all its copies would be one machine.
    let id = if is_an_id(id) { id } else { b"" };
    if id.is_empty() && product.is_empty() {
        return None;
    }
    let mut hash = Sha256::new();
    hash.update(b"vctl machine\0");
    hash.update(id);
    hash.update(b"\0");
    hash.update(product);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    Some(Builder::from_custom_bytes(bytes).into_uuid())
}

fn is_an_id(text: &[u8]) -> bool {
    text.len() == 32 && text.iter().all(u8::is_ascii_hexdigit) && text.iter().any(|&b| b != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host of which nothing else is known.
    fn host(id: Option<&str>, product: Option<&str>) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("etc/machine-id", id),
            ("sys/class/dmi/id/product_uuid", product),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if let Some(text) = text {
                fs::write(path, text).unwrap();
            }
        }
        root
    }

    #[test]
    fn copies_of_an_image_are_told_apart_by_their_firmware() {
        let id = Some("0123456789abcdef0123456789abcdef\n");
        let of = |product| read(host(id, product).path());
        assert_eq!(of(Some("one\n")), of(Some("one")));
        assert_ne!(of(Some("one")), of(Some("two")));
        assert_ne!(of(Some("one")), of(None));
        assert!(of(None).is_some());
    }

    #[test]
    fn a_machine_without_any_id_has_none() {
        assert_eq!(read(host(None, Some("\n")).path()), None);
        assert_eq!(read(host(Some("uninitialized\n"), None).path()), None);
    }
}
