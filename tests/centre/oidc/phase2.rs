//! Every command of `deploy/vault/oidc-phase2.md`, as an administrator pastes it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{GROUP, SignOn};

const DOCUMENT: &str = "deploy/vault/oidc-phase2.md";

/// The shell's blocks, in their order, below the heading that each is under.
fn blocks(document: &str) -> Vec<(&str, &str)> {
    let mut heading = "";
    let mut found = Vec::new();
    let mut rest = document;
    while let Some(at) = rest.find("\n```sh\n") {
        let (before, block) = rest.split_at(at);
        let last = before.lines().rfind(|line| line.starts_with('#'));
        heading = last.unwrap_or(heading);
        let block = &block["\n```sh\n".len()..];
        let (block, after) = block.split_once("\n```\n").unwrap();
        found.push((heading, block));
        rest = after;
    }
    found
}

/// Runs what sets Vault up, with the provider's own addresses in the place of the examples.
pub(super) fn set_up(sign_on: &SignOn) {
    let document = fs::read_to_string(repository().join(DOCUMENT)).unwrap();
    let script: Vec<_> = blocks(&document)
        .into_iter()
        .filter(|(heading, _)| !heading.contains("Does it work"))
        .map(|(_, block)| block)
        .collect();
    let script = script
        .join("\n")
        .replace("https://gitlab.example.net", &sign_on.issuer)
        .replace("GITLAB_GROUP=sre", &format!("GITLAB_GROUP={GROUP}"));
    run(sign_on, &script);
}

/// Runs a script in the top directory of the repository.
fn run(sign_on: &SignOn, script: &str) {
    let centre = sign_on.centre;
    let home = tempfile::tempdir().unwrap();
    symlink(&centre.bao.binary.path, home.path().join("vault")).unwrap();
    let ca = centre.pki.ca().display();
    // The provider's certificate is of an authority that only this centre knows: as the document says.
    let script = script.replace(
        "default_role=vctl",
        &format!("default_role=vctl oidc_discovery_ca_pem=@{ca}"),
    );
    fs::write(
        home.path().join("script"),
        format!("set -euo pipefail\n{script}\n"),
    )
    .unwrap();
    let mut shell = Command::new("/bin/bash");
    shell
        .arg(home.path().join("script"))
        .current_dir(repository())
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", home.path().display()))
        .env("HOME", home.path())
        .env("VAULT_ADDR", centre.bao.address())
        .env("VAULT_CACERT", centre.pki.ca())
        .env("VAULT_TOKEN", centre.bao.root_token().expose())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = shell.spawn().unwrap();
    let typed = format!("{}\n{}\n", sign_on.client_id, sign_on.client_secret);
    child
        .stdin
        .take()
        .unwrap()
        .write_all(typed.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{said}");
    for text in [&output.stdout, &output.stderr] {
        assert!(!String::from_utf8_lossy(text).contains(&sign_on.client_secret));
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
