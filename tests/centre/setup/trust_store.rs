//! The root that is compiled in, and the root that `vctl ca` adds to the system's store.
//!
//! The spec uses the store of this machine in a mount namespace with copies of its directories, so the machine does not
//! change.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use vctl_common::centre::{DbRole, DbSettings, VaultSettings};
use vctl_common::pg::{PgError, Pool, PoolLimits};
use vctl_common::secret::Secret;
use vctl_common::tls::{TlsProblem, Trust};
use vctl_common::vault::{Auth, Vault};
use vctl_tests::centre::Centre;
use vctl_tests::lab::{Programs, installed, skip};

use vctl_tests::pool_fixture::{block_on, db_settings, vault_settings};

/// The directories that `update-ca-certificates` reads and writes.
const STORE: [&str; 3] = ["/etc/ssl", "/etc/ca-certificates", "/usr/local/share"];

/// Runs a script in a mount namespace with its own copy of the store.
fn with_a_store_of_its_own(centre: &Centre, script: &str) -> Output {
    // The copies are on a tmpfs, because some systems cannot mount an overlay over an overlay.
    let copies = STORE.iter().zip(0..).map(|(directory, number)| {
        format!(
            "mkdir -p {directory} \"$SPACE/{number}\"\n\
             mount -t tmpfs none \"$SPACE/{number}\"\n\
             cp -a {directory}/. \"$SPACE/{number}\"\n\
             mount --bind \"$SPACE/{number}\" {directory}\n"
        )
    });
    let copies: String = copies.collect();
    let space = tempfile::tempdir().unwrap();
    let environment = centre.environment().into_iter();
    let system_alone = environment.filter(|(name, _)| !name.ends_with("CA_CERT"));
    Command::new("/usr/bin/unshare")
        .args(["--mount", "--propagation", "private", "/bin/bash", "-c"])
        .arg(format!("set -e\n{copies}set +e\n{script}"))
        .env_clear()
        .envs(system_alone)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", space.path())
        .env("SPACE", space.path())
        .env("CA", centre.pki.ca())
        .env("VCTL", Programs::find().unwrap().vctl)
        .env("VAULT_TOKEN", centre.bao.root_token().expose())
        .current_dir(space.path())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn an_installed_root_is_trusted_until_it_is_removed() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    if !Path::new("/etc/ca-certificates.conf").exists() || !installed("update-ca-certificates") {
        return skip("this system is not a Debian system with ca-certificates");
    }
    let before = fs::read("/etc/ssl/certs/ca-certificates.crt").unwrap();
    // Each step prints its exit status and the number of vctl's files in the store.
    let script = r#"
        step() { "$@" > out 2> err; echo "$? $(ls /usr/local/share/ca-certificates | grep -c ^vctl-ca-)"; }
        ask() { "$VCTL" migrate --status; }
        step ask
        step "$VCTL" ca install --file "$CA"
        step ask
        step "$VCTL" ca install --file "$CA"
        step ask
        stat -c %a /usr/local/share/ca-certificates/vctl-ca-*
        step "$VCTL" ca remove
        step ask
        cat err
        step "$VCTL" ca remove
        cat err
    "#;
    let output = with_a_store_of_its_own(centre, script);
    let said = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let (steps, rest) = said.split_at(said.find("error:").unwrap_or(said.len()));
    assert_eq!(
        steps.lines().collect::<Vec<_>>(),
        ["69 0", "0 1", "0 1", "0 1", "0 1", "644", "0 0", "69 0"],
        "{said}{stderr}"
    );
    assert!(rest.contains("authority that is not trusted"), "{rest}");
    assert!(rest.contains("nothing to remove"), "{rest}");
    let after = fs::read("/etc/ssl/certs/ca-certificates.crt").unwrap();
    assert!(before == after, "the store of this machine was changed");
}

#[test]
fn only_a_root_certificate_is_installed() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    if !Path::new("/etc/ca-certificates.conf").exists() {
        return skip("this system is not a Debian system");
    }
    let script = r#"
        step() { "$@" > out 2> err; echo "$? $(ls /usr/local/share/ca-certificates | grep -c ^vctl-ca-)"; }
        echo nothing > none.pem
        step "$VCTL" ca install --file none.pem
        { cat "$CA"; echo "-----BEGIN PRIVATE KEY-----"; } > key.pem
        step "$VCTL" ca install --file key.pem
        step "$VCTL" ca install --file absent.pem
        mkdir bin; printf '#!/bin/sh\necho the disk is full >&2\nexit 1\n' > bin/update-ca-certificates
        chmod +x bin/update-ca-certificates
        PATH="$PWD/bin:$PATH" step "$VCTL" ca install --file "$CA"
        cat err
        mkdir -p image/etc
        step "$VCTL" ca install --file "$CA" --root image
        chmod 755 . ; cp "$CA" ca.pem; chmod 644 ca.pem; cp "$VCTL" vctl
        step setpriv --reuid 65534 --regid 65534 --clear-groups ./vctl ca install --file ca.pem
        grep -o 'sudo vctl ca install --file /' err
    "#;
    let output = with_a_store_of_its_own(centre, script);
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| !line.starts_with("hint"))
        .collect();
    assert_eq!(
        lines,
        [
            "78 0",
            "78 0",
            "66 0",
            "1 0",
            "error: the root is not installed",
            "  caused by: `update-ca-certificates` failed: the disk is full",
            "78 0",
            "77 0",
            "sudo vctl ca install --file /",
        ],
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Uses the trust settings of a build with this authority. `an_authority_can_be_compiled_in` makes such a build.
#[test]
fn a_compiled_root_is_trusted_with_or_without_system_roots() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let pem = |path: &Path| -> &'static str { fs::read_to_string(path).unwrap().leak() };
    let (ours, stranger) = (pem(centre.pki.ca()), pem(centre.pki.stranger()));
    let file = Trust::File(centre.pki.ca().to_owned());
    let reaches = |vault: &Trust, db: &Trust| {
        let vault = VaultSettings {
            trust: vault.clone(),
            ..vault_settings(centre)
        };
        let db = DbSettings {
            trust: db.clone(),
            ..db_settings(centre)
        };
        let token = Secret::new(centre.bao.root_token().expose().to_owned());
        block_on(async {
            let vault = Vault::connect(&vault, Auth::Token(token)).map_err(PgError::Credential)?;
            let pool = Pool::new(vault, &db, DbRole::Ro, PoolLimits::default())?;
            drop(pool.get().await?);
            pool.close().await;
            Ok::<_, PgError>(())
        })
    };
    for trust in [Trust::Pem(ours), Trust::System { and: Some(ours) }] {
        reaches(&trust, &trust).unwrap();
    }
    for trust in [
        Trust::Pem(stranger),
        Trust::System {
            and: Some(stranger),
        },
        Trust::System { and: None },
    ] {
        for (vault, db) in [(&trust, &file), (&file, &trust)] {
            let error = reaches(vault, db).unwrap_err();
            let problem = TlsProblem::find(&error);
            assert_eq!(problem, Some(TlsProblem::Authority), "{trust:?}: {error}");
        }
    }
}

#[test]
fn an_authority_can_be_compiled_in() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    // The target directory is next to the programs, because hard links do not cross file systems.
    let programs = Programs::find().unwrap().directory;
    let target = tempfile::tempdir_in(programs.parent().unwrap()).unwrap();
    link_dependencies(&programs, &target.path().join("debug"));
    let build = |ca: &Path| {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // `cargo xtask` has these of its own package. The build script of ring watches them, and a build with them would
        // replace the linked results, also for `cargo xtask`.
        let of_package = |name: &OsStr| {
            let name = name.as_encoded_bytes();
            name.starts_with(b"CARGO_PKG_") || name.starts_with(b"CARGO_MANIFEST_")
        };
        for (name, _) in std::env::vars_os().filter(|(name, _)| of_package(name)) {
            cargo.env_remove(name);
        }
        cargo
            // `cargo xtask test` selects packages in the same way, so dependencies have the same features. Cargo builds
            // the program of a package for a test of that package.
            .args(["test", "--offline", "--locked", "--workspace"])
            .args(["--no-run", "--test", "config"])
            .arg("--target-dir")
            .arg(target.path())
            .env("VCTL_ROOT_CA_FILE", ca)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .output()
            .unwrap()
    };
    let refused = build(&target.path().join("none.pem"));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && said.contains("VCTL_ROOT_CA_FILE="),
        "{said}"
    );
    let built = build(centre.pki.ca());
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let vctl = |args: &[&str], more: &[(&str, &str)]| {
        let environment = centre.environment().into_iter();
        let compiled_alone = environment.filter(|(name, _)| !name.ends_with("CA_CERT"));
        Command::new(target.path().join("debug/vctl"))
            .args(args)
            .env_clear()
            .envs(compiled_alone)
            .env("VAULT_TOKEN", centre.bao.root_token().expose())
            .envs(more.iter().copied())
            .current_dir(target.path())
            .output()
            .unwrap()
    };
    let printed = String::from_utf8(vctl(&["ca", "print"], &[]).stdout).unwrap();
    let body = |pem: &str| pem.split_whitespace().collect::<String>();
    let ca = fs::read_to_string(centre.pki.ca()).unwrap();
    assert_eq!(body(&printed), body(&ca));
    let asked = vctl(&["migrate", "--status"], &[]);
    assert!(
        asked.status.success(),
        "{}",
        String::from_utf8_lossy(&asked.stderr)
    );
    // A named file replaces the compiled root.
    for name in ["VCTL_VAULT_CA_CERT", "VCTL_DB_CA_CERT"] {
        let stranger = centre.pki.stranger().to_str().unwrap();
        let asked = vctl(&["migrate", "--status"], &[(name, stranger)]);
        assert_eq!(asked.status.code(), Some(69), "{name}");
    }
}

/// Links the build results of foreign crates, so that cargo builds only the crates of this project again.
fn link_dependencies(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let name = entry.file_name();
        let name = name.to_str().unwrap();
        let is_directory = entry.file_type().unwrap().is_dir();
        let is_top = from.ends_with("debug");
        let is_wanted = !is_top || ["deps", "build", ".fingerprint"].contains(&name);
        // Cargo would write into the files of this project's crates.
        if !is_wanted || name.contains("vctl") {
            continue;
        }
        let target = to.join(name);
        if is_directory {
            link_dependencies(&entry.path(), &target);
        } else {
            fs::hard_link(entry.path(), target).unwrap();
        }
    }
}
