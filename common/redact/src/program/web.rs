//! Clients of web, file and mail servers.
use super::Value::{Account, After, AuthOrBearer, Header, Plain, Scheme, Shell, Token, Whole};
use super::{NONE, Program, rule};

#[rustfmt::skip]
pub(super) const TABLE: &[Program] = &[
    Program { names: &["curl"], bundle: "sSkfLgivIGNqnj#a01246BlOJR",
        rules: &[rule("-u", After(b':')), rule("--user", After(b':')), rule("-U", After(b':')), rule("--proxy-user", After(b':')), rule("-H", Header), rule("--header", Header), rule("--proxy-header", Header), rule("-b", After(b'=')), rule("--cookie", After(b'=')), rule("-E", After(b':')), rule("--cert", After(b':')), rule("--oauth2-bearer", Whole), rule("--pass", Whole), rule("--proxy-pass", Whole), rule("--tlspassword", Whole), rule("--aws-sigv4", Plain)], ..NONE },
    Program { names: &["wget", "wget2"], rules: &[rule("--user", Plain), rule("-U", Plain), rule("--header", Header), rule("--http-password", Whole), rule("--ftp-password", Whole)], ..NONE },
    Program { names: &["http", "https", "xh", "xhs"], rules: &[rule("-a", AuthOrBearer), rule("--auth", AuthOrBearer), rule("-A", Scheme), rule("--auth-type", Scheme)], ..NONE },
    Program { names: &["ab", "wrk", "hey", "siege", "vegeta", "websocat", "grpcurl", "k6"], rules: &[rule("-H", Header), rule("-header", Header), rule("-A", After(b':')), rule("-P", After(b':')), rule("-a", After(b':')), rule("-C", After(b'='))], ..NONE },
    Program { names: &["lftp", "open"], rules: &[rule("-u", After(b',')), rule("--user", After(b',')), rule("-e", Shell), rule("-c", Shell)], operands: &[], ..NONE },
    Program { names: &["ncftp", "ncftpget", "ncftpput"], rules: &[rule("-p", Whole)], ..NONE },
    Program { names: &["aria2c"], rules: &[rule("--http-passwd", Whole), rule("--header", Header)], ..NONE },
    Program { names: &["nikto", "gobuster", "wfuzz", "ffuf", "feroxbuster", "sqlmap", "whatweb", "wpscan", "dirb", "hydra", "medusa", "ncrack", "nuclei"],
        rules: &[rule("-id", Account), rule("-l", Account), rule("-H", Header), rule("--auth-cred", After(b':')), rule("-b", After(b'=')), rule("-c", After(b'='))], ..NONE },
    Program { names: &["jira", "confluence", "artifactory", "jfrog", "jf", "nexus3", "jenkins-cli"], rules: &[rule("-auth", Account), rule("-p", Token)], ..NONE },
    Program { names: &["swaks"], rules: &[rule("-ap", Whole), rule("-apt", Plain)], ..NONE },
    Program { names: &["sendemail", "sendEmail", "mutt", "msmtp", "s-nail", "mailx"], rules: &[rule("-xp", Whole)], ..NONE },
    Program { names: &["ftp", "tnftp", "ncftpls", "cadaver", "davfs2", "tftp"], rules: &[rule("-p", Token)], ..NONE },
];
