//! Programs that make keys, and programs that encrypt or pack files.
use super::Value::{After, Pair, PassSpec, Plain, Token, Whole};
use super::{NONE, Program, attached, next, operand, rule, under};

#[rustfmt::skip]
pub(super) const TABLE: &[Program] = &[
    Program { names: &["openssl"], stdin: &["-stdin", "stdin"],
        rules: &[rule("-passin", PassSpec), rule("-passout", PassSpec), rule("-pass", PassSpec), rule("-password", PassSpec), next("-k", Whole), next("-K", Whole), rule("-hmac", Whole), rule("-macopt", After(b':')), rule("-psk", Whole), rule("-srppass", PassSpec), rule("-kfile", Plain), rule("-salt", Plain)],
        operands: &[operand("passwd", 1, Whole)], ..NONE },
    Program { names: &["gpg"], rules: &[rule("--passphrase", Whole), rule("--export-secret-keys", Plain), rule("--export-secret-subkeys", Plain)], stdin: &["--passphrase-fd"], ..NONE },
    Program { names: &["ssh-keygen"], rules: &[rule("-N", Whole), rule("-P", Whole)], ..NONE },
    Program { names: &["keytool", "jarsigner"], rules: &[rule("-storepass", Whole), rule("-keypass", Whole), rule("-srcstorepass", Whole), rule("-deststorepass", Whole), rule("-destkeypass", Whole), rule("-srckeypass", Whole)], ..NONE },
    Program { names: &["7z", "7za", "7zr", "7zz"], rules: &[attached("-p", Whole)], ..NONE },
    Program { names: &["rar", "unrar"], rules: &[attached("-p", Whole), attached("-hp", Whole)], ..NONE },
    Program { names: &["zip", "unzip", "zipcloak", "funzip"], rules: &[rule("-P", Whole)], bundle: "rqujnoXyvl9", ..NONE },
    Program { names: &["pdftk", "qpdf", "pdftotext", "pdfunite", "mutool"], rules: &[rule("--encrypt", Pair), rule("-upw", Whole), rule("-opw", Whole)], operands: &[operand("input_pw", 1, Whole), operand("owner_pw", 1, Whole), operand("user_pw", 1, Whole)], ..NONE },
    Program { names: &["sops"], rules: &[rule("--set", After(b' '))], operands: &[operand("set", 3, Whole)], ..NONE },
    Program { names: &["age", "rage", "minisign", "signify", "signtool", "osslsigncode", "apksigner", "codesign"],
        rules: &[next("-pass", Whole), next("/p", Whole), rule("--ks-pass", PassSpec), rule("--key-pass", PassSpec)], ..NONE },
    Program { names: &["security"], rules: &[under("add-generic-password", "-w", Whole), under("add-internet-password", "-w", Whole), under("unlock-keychain", "-p", Whole), under("create-keychain", "-p", Whole), under("set-key-partition-list", "-k", Whole), under("import", "-P", Whole)], ..NONE },
    Program { names: &["steghide", "outguess", "john", "ccrypt", "mcrypt", "veracrypt", "truecrypt", "fcrackzip", "scrypt", "aescrypt", "aespipe"],
        rules: &[rule("-p", Token), rule("-K", Token), rule("-k", Token)], ..NONE },
    Program { names: &["certutil", "pk12util", "modutil", "certreq"], rules: &[rule("-W", Whole), rule("-K", Token), next("-p", Whole)], ..NONE },
    Program { names: &["caesar", "bcrypt", "argon2"], operands: &[operand("", 1, Token)], ..NONE },
];
