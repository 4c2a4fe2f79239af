//! The script as cloud-init user data.

use std::fmt::Write as _;

/// Place of the script during the first boot; it is removed by the next boot.
const PLACE: &str = "/run/vctl-trust-ca.sh";

/// Returns a `#cloud-config` document that runs the script once.
pub(crate) fn document(script: &str) -> String {
    let mut document = format!(
        "#cloud-config\n\
         write_files:\n\
         \x20 - path: {PLACE}\n\
         \x20   permissions: '0700'\n\
         \x20   content: |\n"
    );
    for line in script.lines() {
        let indent = if line.is_empty() { "" } else { "      " };
        let _ = writeln!(document, "{indent}{line}");
    }
    let _ = write!(document, "runcmd:\n  - [sh, {PLACE}]\n");
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_has_the_script_unchanged() {
        #[derive(serde::Deserialize)]
        struct Document {
            write_files: Vec<File>,
            runcmd: Vec<Vec<String>>,
        }
        #[derive(serde::Deserialize)]
        struct File {
            path: String,
            content: String,
        }
        let script = "first() {\n    echo 'a: b' # \"c\"\n}\n\n\tlast \\n\n";
        let document: Document = serde_saphyr::from_str(&document(script)).unwrap();
        assert_eq!(document.write_files[0].content, script);
        assert_eq!(document.runcmd, [["sh", &*document.write_files[0].path]]);
    }
}
