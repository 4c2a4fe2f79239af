//! What has to be done, on each system.

use std::path::{Path, PathBuf};

use super::Authority;
use super::system::{Family, System};

/// Begins the name of every file that vctl adds.
pub(super) const PREFIX: &str = "vctl-ca-";

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make or replace a file that everybody may read.
    Write {
        path: PathBuf,
        pem: String,
    },
    /// Take a file away if it is there.
    Remove {
        path: PathBuf,
    },
    Run {
        program: String,
        args: Vec<String>,
    },
}

/// Returns the steps after which the system believes `authorities`.
pub(crate) fn install(system: &System, authorities: &[Authority], temporary: &Path) -> Vec<Step> {
    let mut steps = Vec::new();
    match system {
        System::Files { root, family } => {
            steps.extend(authorities.iter().map(|authority| Step::Write {
                path: file_of(authority, root, *family),
                pem: authority.pem.clone(),
            }));
            steps.push(update(root, *family));
        }
        System::Keychain { home } => {
            for authority in authorities {
                let path = temporary.join(format!("{PREFIX}{}.pem", authority.fingerprint));
                let file = path.display().to_string();
                steps.push(Step::Write {
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
                steps.push(Step::Remove { path });
            }
        }
    }
    steps
}

/// Returns the steps after which the system no longer believes `authorities`, nor what is in
/// `files`, which vctl added earlier.
pub(crate) fn remove(system: &System, authorities: &[Authority], files: &[PathBuf]) -> Vec<Step> {
    match system {
        System::Files { root, family } => {
            let named = authorities.iter();
            let mut paths: Vec<PathBuf> = named
                .map(|authority| file_of(authority, root, *family))
                .chain(files.iter().cloned())
                .collect();
            paths.sort();
            paths.dedup();
            let mut steps: Vec<Step> = paths
                .into_iter()
                .map(|path| Step::Remove { path })
                .collect();
            steps.push(update(root, *family));
            steps
        }
        System::Keychain { home } => {
            let keychain = keychain(home);
            let delete = |authority: &Authority| {
                // With `-t`, the trust goes with the certificate.
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

/// One file for each: Debian's program takes no file with two.
fn file_of(authority: &Authority, root: &Path, family: Family) -> PathBuf {
    let name = authority
        .fingerprint
        .get(..16)
        .unwrap_or(&authority.fingerprint);
    let file = format!("{PREFIX}{name}.{}", family.extension());
    root.join(family.anchors()).join(file)
}

fn update(root: &Path, family: Family) -> Step {
    let command = family.update();
    if root == Path::new("/") {
        return run(command[0], &command[1..]);
    }
    // The image's own program: another version may keep its store elsewhere.
    let root = root.display().to_string();
    let words = [&[root.as_str()], command].concat();
    run("chroot", &words)
}

fn keychain(home: &Path) -> String {
    let path = home.join("Library/Keychains/login.keychain-db");
    path.display().to_string()
}

fn run(program: &str, args: &[&str]) -> Step {
    Step::Run {
        program: program.to_owned(),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority() -> Authority {
        Authority {
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

    /// One line for each step, as a shell would have it.
    fn lines(steps: &[Step]) -> Vec<String> {
        let line = |step: &Step| match step {
            Step::Write { path, pem } => format!("{pem} > {}", path.display()),
            Step::Remove { path } => format!("rm {}", path.display()),
            Step::Run { program, args } => format!("{program} {}", args.join(" ")),
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
    fn in_an_image_its_own_program_runs() {
        assert_eq!(
            installed(&files(Family::RedHat, "/srv/image")),
            [
                "PEM > /srv/image/etc/pki/ca-trust/source/anchors/vctl-ca-0123456789abcdef.pem",
                "chroot /srv/image update-ca-trust extract"
            ]
        );
    }

    #[test]
    fn what_is_there_and_what_is_named_goes_once() {
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
