//! Which machine this is, so that two that use one credential are noticed.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// Returns a number of this machine, the same after a reboot.
///
/// Made from `/etc/machine-id` and, where there is one, the firmware's id: copies of one disk image
/// share the first. Neither can be got back from it: machine-id(5) asks not to pass that one on.
pub fn machine_id() -> Uuid {
    of(
        Path::new("/etc/machine-id"),
        Path::new("/sys/class/dmi/id/product_uuid"),
    )
}

fn of(machine_id: &Path, product: &Path) -> Uuid {
    let read = |path: &Path| fs::read(path).unwrap_or_default();
    let mut hash = Sha256::new();
    hash.update(b"vctl machine\0");
    hash.update(read(machine_id).trim_ascii());
    hash.update(b"\0");
    hash.update(read(product).trim_ascii());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_an_image_are_told_apart_by_their_firmware() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let id = file("id", "0123456789abcdef0123456789abcdef\n");
        let (a, b) = (file("a", "one\n"), file("b", "two\n"));
        assert_eq!(of(&id, &a), of(&id, &a));
        assert_ne!(of(&id, &a), of(&id, &b));
        assert_ne!(of(&id, &a), of(&dir.path().join("none"), &a));
    }
}
