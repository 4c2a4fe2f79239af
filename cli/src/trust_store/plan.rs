//! The steps to change the trust store, for each system.

use std::path::{Path, PathBuf};

use super::RootCa;
use super::system::{Family, PREFIX, System};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreStep {
    /// Create or replace a file with mode 0644.
    Write {
        path: PathBuf,
        pem: String,
    },
    /// Remove a file if it exists.
    Remove {
        path: PathBuf,
    },
    Run {
        program: String,
        args: Vec<String>,
    },
}

/// Returns the steps that make the system trust `authorities`.
pub(crate) fn install(system: &System, authorities: &[RootCa], temporary: &Path) -> Vec<StoreStep> {
    let mut steps = Vec::new();
    match system {
        System::Files { root, family } => {
            steps.extend(authorities.iter().map(|authority| StoreStep::Write {
                path: file_of(authority, root, *family),
                pem: authority.pem.clone(),
            }));
            steps.push(update(root, *family));
        }
        System::Keychain { home } => {
            for authority in authorities {
                let path = temporary.join(format!("{PREFIX}{}.pem", authority.fingerprint));
                let file = path.display().to_string();
                steps.push(StoreStep::Write {
                    path: path.clone(),
                    pem: authority.pem.clone(),
                });
                let keychain = keychain(home);
                steps.push(run(
                    "security",
                    &[
                        "add-trusted-cert",
                        "-r",
                        "trustRoot",
                        "-k",
                        &keychain,
                        &file,
                    ],
                ));
                steps.push(StoreStep::Remove { path });
            }
        }
    }
    steps
}

/// Returns the steps that remove the trust in `authorities` and in the certificates in `files`, which vctl
/// added earlier.
pub(crate) fn remove(system: &System, authorities: &[RootCa], files: &[PathBuf]) -> Vec<StoreStep> {
    match system {
        System::Files { root, family } => {
            let named = authorities.iter();
            let mut paths: Vec<PathBuf> = named
                .map(|authority| file_of(authority, root, *family))
                .chain(files.iter().cloned())
                .collect();
            paths.sort();
            paths.dedup();
            let mut steps: Vec<StoreStep> = paths
                .into_iter()
                .map(|path| StoreStep::Remove { path })
                .collect();
            steps.push(update(root, *family));
            steps
        }
        System::Keychain { home } => {
            let keychain = keychain(home);
            let delete = |authority: &RootCa| {
                // `-t` also removes the trust settings.
                run(
                    "security",
                    &[
                        "delete-certificate",
                        "-t",
                        "-Z",
                        &authority.fingerprint,
                        &keychain,
                    ],
                )
            };
            authorities.iter().map(delete).collect()
        }
    }
}

/// Returns one file for each certificate: Debian's program does not accept a file with two.
fn file_of(authority: &RootCa, root: &Path, family: Family) -> PathBuf {
    let name = authority
        .fingerprint
        .get(..16)
        .unwrap_or(&authority.fingerprint);
    let file = format!("{PREFIX}{name}.{}", family.extension());
    root.join(family.anchors()).join(file)
}

fn update(root: &Path, family: Family) -> StoreStep {
    let command = family.update();
    if root == Path::new("/") {
        return run(command[0], &command[1..]);
    }
    // The program of the image: its version may use another store.
    let root = root.display().to_string();
    let words = [&[root.as_str()], command].concat();
    run("chroot", &words)
}

fn keychain(home: &Path) -> String {
    let path = home.join("Library/Keychains/login.keychain-db");
    path.display().to_string()
}

fn run(program: &str, args: &[&str]) -> StoreStep {
    StoreStep::Run {
        program: program.to_owned(),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority() -> RootCa {
        RootCa {
            pem: "PEM".to_owned(),
            fingerprint: "0123456789abcdef0123456789abcdef".to_owned(),
        }
    }

    fn files(family: Family, root: &str) -> System {
        System::Files {
            root: root.into(),
            family,
        }
    }

    /// Prints each step as a shell command.
    fn lines(steps: &[StoreStep]) -> Vec<String> {
        let line = |step: &StoreStep| match step {
            StoreStep::Write { path, pem } => format!("{pem} > {}", path.display()),
            StoreStep::Remove { path } => format!("rm {}", path.display()),
            StoreStep::Run { program, args } => format!("{program} {}", args.join(" ")),
        };
        steps.iter().map(line).collect()
    }

    fn installed(system: &System) -> Vec<String> {
        lines(&install(system, &[authority()], Path::new("/tmp/me")))
    }

    #[test]
    fn each_family_has_its_directory_and_its_program() {
        assert_eq!(
            installed(&files(Family::Debian, "/")),
            [
                "PEM > /usr/local/share/ca-certificates/vctl-ca-0123456789abcdef.crt",
                "update-ca-certificates "
            ]
        );
        assert_eq!(
            installed(&files(Family::RedHat, "/")),
            [
                "PEM > /etc/pki/ca-trust/source/anchors/vctl-ca-0123456789abcdef.pem",
                "update-ca-trust extract"
            ]
        );
        let macos = System::Keychain {
            home: "/Users/me".into(),
        };
        assert_eq!(
            installed(&macos),
            [
                "PEM > /tmp/me/vctl-ca-0123456789abcdef0123456789abcdef.pem",
                "security add-trusted-cert -r trustRoot -k /Users/me/Library/Keychains/login.keychain-db /tmp/me/vctl-ca-0123456789abcdef0123456789abcdef.pem",
                "rm /tmp/me/vctl-ca-0123456789abcdef0123456789abcdef.pem"
            ]
        );
        assert_eq!(
            lines(&remove(&macos, &[authority()], &[])),
            [
                "security delete-certificate -t -Z 0123456789abcdef0123456789abcdef /Users/me/Library/Keychains/login.keychain-db"
            ]
        );
    }

    #[test]
    fn an_image_uses_its_own_program() {
        assert_eq!(
            installed(&files(Family::RedHat, "/srv/image")),
            [
                "PEM > /srv/image/etc/pki/ca-trust/source/anchors/vctl-ca-0123456789abcdef.pem",
                "chroot /srv/image update-ca-trust extract"
            ]
        );
    }

    #[test]
    fn present_and_given_files_are_removed_once() {
        let system = files(Family::Debian, "/");
        let there = [
            "/usr/local/share/ca-certificates/vctl-ca-0123456789abcdef.crt".into(),
            "/usr/local/share/ca-certificates/vctl-ca-ffff.crt".into(),
        ];
        assert_eq!(
            lines(&remove(&system, &[authority()], &there)),
            [
                "rm /usr/local/share/ca-certificates/vctl-ca-0123456789abcdef.crt",
                "rm /usr/local/share/ca-certificates/vctl-ca-ffff.crt",
                "update-ca-certificates "
            ]
        );
    }
}
