//! A key revocation list of OpenSSH (PROTOCOL.krl): serials and key ids that sshd refuses.
//!
//! ssh-key and russh can neither read nor write such lists, and `ssh-keygen -k` is not on every machine that runs vctl.

use std::collections::BTreeSet;

const MAGIC: &[u8; 8] = b"SSHKRL\n\0";
const FORMAT_VERSION: u32 = 1;
const SECTION_CERTIFICATES: u8 = 1;
const SECTION_CERT_SERIAL_LIST: u8 = 0x20;
const SECTION_CERT_KEY_ID: u8 = 0x23;

/// Returns the list, for certificates of every CA: after a rotation, two CAs are in use. `made_at` is in seconds since
/// 1970, and also the number of the list.
pub(crate) fn encode(
    serials: &BTreeSet<u64>,
    key_ids: &BTreeSet<String>,
    made_at: u64,
    comment: &str,
) -> Vec<u8> {
    let mut list = Vec::from(MAGIC);
    list.extend(FORMAT_VERSION.to_be_bytes());
    list.extend(made_at.to_be_bytes());
    list.extend(made_at.to_be_bytes());
    // No flags are defined.
    list.extend(0_u64.to_be_bytes());
    push_string(&mut list, b"");
    push_string(&mut list, comment.as_bytes());
    let mut certificates = Vec::new();
    // An empty key stands for every CA; then a reserved field.
    push_string(&mut certificates, b"");
    push_string(&mut certificates, b"");
    // sshd ignores the serial 0: it means that a certificate has none.
    let serials: Vec<u8> = serials
        .iter()
        .filter(|serial| **serial != 0)
        .flat_map(|serial| serial.to_be_bytes())
        .collect();
    if !serials.is_empty() {
        certificates.push(SECTION_CERT_SERIAL_LIST);
        push_string(&mut certificates, &serials);
    }
    let mut names = Vec::new();
    for key_id in key_ids {
        push_string(&mut names, key_id.as_bytes());
    }
    if !names.is_empty() {
        certificates.push(SECTION_CERT_KEY_ID);
        push_string(&mut certificates, &names);
    }
    if !serials.is_empty() || !names.is_empty() {
        list.push(SECTION_CERTIFICATES);
        push_string(&mut list, &certificates);
    }
    list
}

fn push_string(into: &mut Vec<u8>, text: &[u8]) {
    into.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    into.extend(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_written_as_in_protocol_krl() {
        let serials = BTreeSet::from([0, 7, u64::MAX]);
        let list = encode(&serials, &BTreeSet::from(["a-b".to_owned()]), 1, "c");
        let mut expected = Vec::from(b"SSHKRL\n\0\0\0\0\x01");
        expected.extend(b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01c");
        expected.extend(b"\x01\0\0\0\x29\0\0\0\0\0\0\0\0");
        expected.extend(b"\x20\0\0\0\x10\0\0\0\0\0\0\0\x07\xff\xff\xff\xff\xff\xff\xff\xff");
        expected.extend(b"\x23\0\0\0\x07\0\0\0\x03a-b");
        assert_eq!(list, expected);
    }

    #[test]
    fn an_empty_list_has_no_section() {
        let list = encode(&BTreeSet::new(), &BTreeSet::new(), 1, "");
        assert_eq!(list.len(), 8 + 4 + 8 + 8 + 8 + 4 + 4);
    }
}
