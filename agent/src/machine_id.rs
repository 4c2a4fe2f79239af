//! Identity of this machine, so that two machines with one credential are noticed.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// Returns a number for the machine whose files are below `root`. It is the same after a reboot; `None` where
/// nothing distinguishes the machine.
///
/// A hash of `/etc/machine-id` and, where it exists, the firmware's id, because copies of one disk image share
/// the first. The hash hides both: machine-id(5) asks not to pass that id on.
pub fn read(root: &Path) -> Option<Uuid> {
    let read = |path: &str| fs::read(root.join(path)).unwrap_or_default();
    let (id, product) = (
        read("etc/machine-id"),
        read("sys/class/dmi/id/product_uuid"),
    );
    let (id, product) = (id.trim_ascii(), product.trim_ascii());
    // An image before its first boot contains `uninitialized`; all its copies would be one machine.
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

    /// A host with nothing else to identify it.
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
