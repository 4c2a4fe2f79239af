//! The directory from which Docker builds the image: the Dockerfile, and `vctl` for each architecture.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::files;

const DOCKERFILE: &str = "deploy/container/Dockerfile";

/// Writes the directory `image`, and returns the programs that it lacks.
pub(super) fn write_context(out: &Path) -> Result<Vec<String>> {
    let context = out.join("image");
    fs::create_dir_all(&context)?;
    fs::copy(DOCKERFILE, context.join("Dockerfile")).context(DOCKERFILE)?;
    let mut absent = Vec::new();
    for arch in files::ARCHITECTURES {
        let tarball = files::tarball("linux", arch);
        // Docker's name of the architecture.
        let docker = if arch == "x86_64" { "amd64" } else { "arm64" };
        if !out.join(&tarball).exists() {
            absent.push(format!("image/{docker}/vctl"));
            continue;
        }
        let directory = context.join(docker);
        fs::create_dir_all(&directory)?;
        let mut tar = Command::new("tar");
        tar.arg("-xzOf").arg(out.join(&tarball));
        tar.arg(format!(
            "{}/usr/bin/vctl",
            tarball.trim_end_matches(".tar.gz")
        ));
        let output = tar.output()?;
        ensure!(output.status.success(), "`{tarball}` has no usr/bin/vctl");
        fs::write(directory.join("vctl"), output.stdout)?;
        fs::set_permissions(directory.join("vctl"), fs::Permissions::from_mode(0o755))?;
    }
    Ok(absent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_has_a_fixed_base_a_plain_user_and_only_vctl() {
        let text = fs::read_to_string(Path::new("..").join(DOCKERFILE)).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
        let of = |word: &str| -> Vec<_> {
            let lines = lines.iter().filter(|line| line.starts_with(word));
            lines.collect()
        };
        let [base] = of("FROM ")[..] else {
            panic!("one base")
        };
        let (name, digest) = base.split_once("@sha256:").unwrap();
        assert!(name.starts_with("FROM gcr.io/distroless/static-"), "{name}");
        assert_eq!(digest.len(), 64, "{digest}");
        assert_eq!(of("USER "), [&"USER 65532:65532"]);
        assert_eq!(of("COPY "), [&"COPY ${TARGETARCH}/vctl /usr/bin/vctl"]);
        for word in ["RUN", "ADD", "ENV", "VOLUME"] {
            assert!(of(word).is_empty(), "{word}");
        }
    }
}
