//! Inputs that must not become an image: each gives its reason, and leaves no file behind.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::super::install::Inputs;
use super::super::{finish, package};
use super::Trial;
use crate::boot::with_version;
use crate::command::quietly;

/// A file of the overlay with its text, and a part of the reason. `@` stands for the text that Debian has.
const OVERLAYS: [(&str, &str, &str); 8] = [
    (
        "etc/ssh/sshd_config.d/50-site.conf",
        "NoSuchKeyword yes\n",
        "Bad configuration option: NoSuchKeyword",
    ),
    (
        "etc/ssh/sshd_config.d/05-site.conf",
        "TrustedUserCAKeys /etc/ssh/other.pub\n",
        "trusts the keys in `/etc/ssh/other.pub` instead of",
    ),
    (
        "etc/pam.d/sshd",
        "@session required pam_exec.so /opt/gone/vctl-agent stamp\n",
        "`/opt/gone/vctl-agent` is missing",
    ),
    (
        "etc/pam.d/sshd",
        "@session required pam_exec.so /usr/sbin/vctl-agent stamp\nsession required pam_exec.so /usr/sbin/vctl-agent stamp\n",
        "2 lines run `vctl-agent stamp`",
    ),
    (
        "boot/config-CONFIG",
        "CONFIG_BPF_SYSCALL=y\n",
        "the kernel of the image has no BTF",
    ),
    ("etc/vctl/agent.yaml", "no_such_key: 1\n", "no_such_key"),
    (
        "root/.vault-token",
        "hvs.CAESIJx0123456789abcdef0123456789\n",
        "/root/.vault-token: stored credentials",
    ),
    (
        "srv/web-1.json",
        "{\"wrapped_secret_id\": \"x\"}\n",
        "/srv/web-1.json: an enrolment of one host",
    ),
];

pub(super) fn run(trial: &Trial) -> Result<String> {
    let inputs = trial.inputs.as_ref().context("an image was built")?;
    for (path, text, reason) in OVERLAYS {
        let overlay = tempfile::tempdir_in(&trial.work)?;
        let path = path.replace("config-CONFIG", &config_name(&trial.base())?);
        let there = fs::read_to_string(trial.base().join(&path)).unwrap_or_default();
        let file = overlay.path().join(&path);
        fs::create_dir_all(file.parent().context("a file has a directory")?)?;
        fs::write(&file, text.replace('@', &there))?;
        refused(
            trial,
            &with_overlay(inputs, Some(overlay.path())),
            &path,
            reason,
        )?;
    }
    versions(trial, inputs)?;
    full_disk(trial, inputs)?;
    Ok(format!(
        "{} inputs, each with its reason and without a file left behind",
        OVERLAYS.len() + 2
    ))
}

fn config_name(root: &Path) -> Result<String> {
    let files = fs::read_dir(root.join("boot"))?.flatten();
    let mut names = files.map(|file| file.file_name().to_string_lossy().into_owned());
    names
        .find(|name| name.starts_with("config-"))
        .context("the root has no kernel")
}

fn with_overlay(inputs: &Inputs, overlay: Option<&Path>) -> Inputs {
    Inputs {
        package: inputs.package.clone(),
        authorities: inputs.authorities.clone(),
        vault_ca: inputs.vault_ca.clone(),
        db_ca: inputs.db_ca.clone(),
        overlay: overlay.map(Path::to_owned),
        is_strict: inputs.is_strict,
        allows_authorized_keys: inputs.allows_authorized_keys,
    }
}

/// Expects that these inputs are refused for the reason, before a file of an image is written.
fn refused(trial: &Trial, inputs: &Inputs, name: &str, reason: &str) -> Result<()> {
    let root = trial.copy_of_base()?;
    let image = trial.work.join("refused");
    let done = finish(inputs, None, trial.epoch, &root, &image);
    let Err(error) = done else {
        bail!("`{name}` was accepted");
    };
    let error = format!("{error:#}");
    ensure!(
        error.contains(reason),
        "`{name}` was refused without `{reason}`: {error}"
    );
    ensure!(!image.exists(), "`{name}` left `{}`", image.display());
    Ok(())
}

/// Expects that a package of another version is refused before Debian is made.
fn versions(trial: &Trial, inputs: &Inputs) -> Result<()> {
    let own = env!("CARGO_PKG_VERSION");
    let older = trial.work.join("older.deb");
    with_version(&inputs.package, "0.0.9", &older)?;
    let error = package::check(&older).err().map(|error| error.to_string());
    let error = error.context("a package of another version was accepted")?;
    ensure!(
        error.contains(&format!("has version 0.0.9, and this clone is {own}")),
        "{error}"
    );
    let found = package::list(&trial.base())?;
    let mut wanted = found.clone();
    wanted[0].push('9');
    let error = package::same(&wanted, &found)
        .err()
        .map(|error| error.to_string());
    ensure!(
        error.is_some_and(|error| error.contains("packages differ")),
        "other versions were accepted"
    );
    Ok(())
}

/// Expects that an image that does not fit is not there at all.
fn full_disk(trial: &Trial, inputs: &Inputs) -> Result<()> {
    let small = trial.new_directory("small")?;
    let mut mount = Command::new("mount");
    quietly(
        mount
            .args(["-t", "tmpfs", "-o", "size=32m", "small"])
            .arg(&small),
    )?;
    let root = trial.copy_of_base()?;
    let out = small.join("images/full");
    let done = super::super::build_at(&out, |work| {
        let image = work.join("image");
        finish(inputs, None, trial.epoch, &root, &image)?;
        Ok(image)
    });
    let left = fs::read_dir(small.join("images"))?.count();
    quietly(Command::new("umount").arg(&small))?;
    let error = done.err().map(|error| format!("{error:#}"));
    let error = error.context("an image of 250 MiB fits in 32 MiB")?;
    ensure!(error.contains("No space left on device"), "{error}");
    ensure!(left == 0, "{left} files are left after a full disk");
    Ok(())
}
