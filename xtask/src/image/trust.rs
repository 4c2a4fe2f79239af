//! The SSH CA that the sshd of the image trusts, with the script of `vctl trust-ca`.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use super::in_root;
use crate::command::quietly;

/// The part of the script that does not depend on the CA.
const SCRIPT: &str = include_str!("../../../cli/src/trust_ca/install.sh");
const FILE: &str = "/etc/ssh/vault-ca.pub";

/// A CA to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    /// `SHA256:...`.
    fingerprint: String,
    /// Type and key, without a comment.
    line: String,
}

/// Reads the public keys of a file, one a line.
pub(super) fn read(path: &Path) -> Result<Vec<Authority>> {
    let text = fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read `{}`", path.display()))?;
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let wrong = || {
        format!(
            "`{}` has a line that is not a public key; write the file with `vctl ca ssh-print`",
            path.display()
        )
    };
    let authorities: Vec<_> = lines
        .map(|line| authority(line).with_context(wrong))
        .collect::<Result<_>>()?;
    ensure!(
        !authorities.is_empty(),
        "`{}` has no public key",
        path.display()
    );
    Ok(authorities)
}

fn authority(line: &str) -> Result<Authority> {
    let mut words = line.split_whitespace();
    let (Some(kind), Some(key)) = (words.next(), words.next()) else {
        bail!("it has no key");
    };
    ensure!(!kind.contains("-cert-"), "a certificate is no CA");
    let line = format!("{kind} {key}");
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-l", "-E", "sha256", "-f", "-"]);
    let printed = with_input(&mut keygen, &line)?;
    let fingerprint = printed
        .split(' ')
        .nth(1)
        .context("ssh-keygen printed no fingerprint")?;
    Ok(Authority {
        fingerprint: fingerprint.to_owned(),
        line,
    })
}

/// Makes the sshd of the root trust the CAs, and proves that it does.
pub(super) fn install(authorities: &[Authority], root: &Path) -> Result<()> {
    let mut shell = Command::new("sh");
    shell.args(["-s", "--"]).arg(root);
    let printed = with_input(&mut shell, &script(authorities))?;
    if let Some(error) = printed
        .lines()
        .find_map(|line| line.strip_prefix("vctl:error "))
    {
        bail!("the image does not trust the SSH CA: {error}");
    }
    effective(root)
}

/// Asks the sshd of the root for its settings: an earlier line of its configuration wins.
fn effective(root: &Path) -> Result<()> {
    // sshd prints no setting without a host key, and the image has none.
    let key = root.join("run/image-key");
    let mut keygen = Command::new("ssh-keygen");
    quietly(
        keygen
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key),
    )?;
    fs::create_dir_all(root.join("run/sshd"))?;
    let mut sshd = in_root(root, "/usr/sbin/sshd");
    sshd.args(["-T", "-h", "/run/image-key"]);
    let settings = quietly(sshd.args(["-C", "user=root,host=localhost,addr=127.0.0.1"]));
    for end in ["", ".pub"] {
        fs::remove_file(root.join(format!("run/image-key{end}")))?;
    }
    let settings = settings.context("sshd rejects the configuration of the image")?;
    let value = |name: &str| settings.lines().find_map(|line| line.strip_prefix(name));
    let trusted = value("trustedusercakeys ").unwrap_or("none");
    ensure!(
        trusted == FILE,
        "sshd of the image trusts the keys in `{trusted}` instead of `{FILE}`: remove that line of its configuration"
    );
    Ok(())
}

/// Returns the script as `vctl trust-ca --script` prints it.
fn script(authorities: &[Authority]) -> String {
    let mut script = String::new();
    let wanted: Vec<String> = authorities
        .iter()
        .map(|it| format!("{} {}\n", it.fingerprint, it.line))
        .collect();
    for (name, lines) in [
        ("wanted", wanted.concat()),
        ("unwanted", String::new()),
        ("principals", String::new()),
    ] {
        let _ = write!(
            script,
            "{name}() {{\n    cat <<'VCTL_END'\n{lines}VCTL_END\n}}\n"
        );
    }
    script + "scopes=keep\nmode=apply\n" + SCRIPT
}

fn with_input(command: &mut Command, input: &str) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run `{program}`"))?;
    child
        .stdin
        .take()
        .context("stdin is a pipe")?
        .write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    // The script reports its errors on stdout.
    ensure!(
        output.status.success() || printed.contains("vctl:error "),
        "`{program}` ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(printed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5PpQUaYBGnz8D0mCcRtNmXvFxJ8NAQ1q8QFvRJmB7S";

    #[test]
    fn only_public_keys_are_a_ca() {
        let work = tempfile::tempdir().unwrap();
        let file = work.path().join("ca.pub");
        fs::write(&file, format!("# ours\n{KEY} of Vault\n\n")).unwrap();
        let read_now = read(&file).unwrap();
        assert!(
            read_now.len() == 1 && read_now[0].line == KEY,
            "{read_now:?}"
        );
        assert!(
            read_now[0].fingerprint.starts_with("SHA256:"),
            "{read_now:?}"
        );
        for bad in [
            "",
            "# none\n",
            "ssh-ed25519 AAAA\n",
            "-----BEGIN OPENSSH PRIVATE KEY-----\n",
        ] {
            fs::write(&file, bad).unwrap();
            assert!(read(&file).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_file_of_cas_is_that_of_vctl_trust_ca() {
        let root = tempfile::tempdir().unwrap();
        let ssh = root.path().join("etc/ssh");
        fs::create_dir_all(&ssh).unwrap();
        fs::write(
            ssh.join("sshd_config"),
            "Include /etc/ssh/sshd_config.d/*.conf\n",
        )
        .unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-s", "--"]).arg(root.path());
        let authority = authority(KEY).unwrap();
        let printed = with_input(&mut shell, &script(&[authority])).unwrap();
        assert!(printed.ends_with("vctl:result applied\n"), "{printed}");
        let read = |name: &str| fs::read_to_string(ssh.join(name)).unwrap();
        assert_eq!(read("vault-ca.pub"), format!("{KEY}\n"));
        let drop_in = read("sshd_config.d/10-vault-ca.conf");
        assert!(drop_in.ends_with("TrustedUserCAKeys /etc/ssh/vault-ca.pub\n"));
    }
}
