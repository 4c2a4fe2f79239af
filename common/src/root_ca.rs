//! Checks that a PEM file of authorities contains certificates and nothing else.
//!
//! The build script includes this file, so it uses only the standard library. [`crate::tls`] checks
//! whether TLS can use the certificates.

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Returns the certificates of `pem`, each in PEM form, without the text between them.
///
/// # Errors
/// The text has no certificate or contains something else. The error is the end of a sentence.
pub fn certificates(pem: &str) -> Result<Vec<String>, String> {
    if pem.contains("PRIVATE KEY-----") {
        return Err("it contains a private key, which must stay private".to_owned());
    }
    let mut found = Vec::new();
    let mut lines = pem.lines().map(str::trim_end);
    while let Some(line) = lines.next() {
        if line != BEGIN {
            if line.starts_with("-----BEGIN ") {
                return Err(format!(
                    "it contains something else than certificates: `{line}`"
                ));
            }
            continue;
        }
        let mut body = String::new();
        loop {
            match lines.next() {
                Some(END) => break,
                Some(line) if !line.is_empty() && line.bytes().all(is_base64) => {
                    body.push_str(line);
                }
                Some(line) => return Err(format!("`{line}` is not a line of a certificate")),
                None => return Err("it ends within a certificate".to_owned()),
            }
        }
        // Every certificate is a DER sequence of more than 255 bytes: 0x30 0x82.
        if !body.starts_with("MII") || !body.len().is_multiple_of(4) {
            return Err("its content is not a certificate".to_owned());
        }
        found.push(wrapped(&body));
    }
    if found.is_empty() {
        return Err("it contains no certificate in PEM form".to_owned());
    }
    Ok(found)
}

fn wrapped(body: &str) -> String {
    let mut text = BEGIN.to_owned();
    for line in body.as_bytes().chunks(64) {
        text.push('\n');
        text.extend(line.iter().map(|&byte| char::from(byte)));
    }
    text + "\n" + END + "\n"
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::certificates;

    /// Not a usable certificate; only its form is checked.
    const ANY: &str = "-----BEGIN CERTIFICATE-----\nMIIBszCC\n-----END CERTIFICATE-----\n";

    #[test]
    fn only_certificates_are_compiled_in_and_nothing_beside_them() {
        let with_notes = format!("subject=CN = root\r\n{}\n{ANY}", ANY.replace('\n', "\r\n"));
        assert_eq!(certificates(&with_notes).unwrap(), [ANY, ANY]);
        for (pem, why) in [
            (String::new(), "no certificate"),
            ("MIIBszCC".to_owned(), "no certificate"),
            (ANY.replace("MIIB", "AAAA"), "not a certificate"),
            (ANY.replace("MIIBszCC", "MIIB szC"), "not a line"),
            (
                ANY.replace("-----END CERTIFICATE-----\n", ""),
                "ends within",
            ),
            (
                format!("{ANY}-----BEGIN EC PRIVATE KEY-----\n"),
                "private key",
            ),
            (
                format!("{ANY}-----BEGIN PUBLIC KEY-----\n"),
                "something else",
            ),
        ] {
            let error = certificates(&pem).unwrap_err();
            assert!(error.contains(why), "{pem:?}: {error}");
        }
    }
}
