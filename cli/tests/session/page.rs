//! `--html` and `--open`: the file of the page, and no accidental replacement.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use crate::spool::Spool;
use crate::{run, session, stderr, stdout, vctl};

fn one_session() -> Spool {
    let mut spool = Spool::new();
    session(&mut spool, "alice", 11, "ca-a", "echo  two blanks");
    spool
}

#[test]
fn a_page_prints_its_path_and_replaces_nothing() {
    let spool = one_session();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("page.html");
    let path = file.to_str().unwrap();
    let made = run(&spool, &["11", "--html", path]);
    assert!(made.status.success() && made.stdout.is_empty(), "{made:?}");
    let said = stderr(&made);
    assert!(said.contains(path) && said.contains("2 events"), "{said}");
    fs::write(&file, "evidence").unwrap();
    let refused = run(&spool, &["11", "--html", path]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("--force"), "{}", stderr(&refused));
    assert_eq!(fs::read_to_string(&file).unwrap(), "evidence");
    let forced = run(&spool, &["11", "--html", path, "--force"]);
    assert!(forced.status.success(), "{forced:?}");
    assert!(fs::read_to_string(&file).unwrap().starts_with("<!doctype"));
}

#[test]
fn only_a_regular_file_is_replaced() {
    let spool = one_session();
    let dir = tempfile::tempdir().unwrap();
    let (link, target) = (dir.path().join("link"), dir.path().join("target"));
    fs::write(&target, "target").unwrap();
    symlink(&target, &link).unwrap();
    for place in [&*link, dir.path(), Path::new("/dev/null")] {
        for force in [&[][..], &["--force"]] {
            let args = [&["11", "--html", place.to_str().unwrap()], force].concat();
            let output = run(&spool, &args);
            assert!(!output.status.success(), "{place:?}: {output:?}");
        }
    }
    assert_eq!(fs::read_to_string(&target).unwrap(), "target");
    let absent = dir.path().join("absent/page.html");
    let output = run(&spool, &["11", "--html", absent.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("absent"), "{}", stderr(&output));
}

#[test]
fn a_hyphen_writes_the_page_to_standard_output() {
    let spool = one_session();
    let dir = tempfile::tempdir().unwrap();
    let output = vctl(spool.path(), &["11", "--html", "-"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let page = stdout(&output);
    assert!(
        page.starts_with("<!doctype html>") && page.ends_with("</html>\n"),
        "{page}"
    );
    assert!(page.contains("echo  two blanks"), "{page}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn an_opened_page_is_private() {
    let spool = one_session();
    let home = tempfile::tempdir().unwrap();
    let open = |browser: &str| {
        let mut command = vctl(spool.path(), &["11", "--open"]);
        for name in ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"] {
            command.env_remove(name);
        }
        command.env("HOME", home.path()).env("BROWSER", browser);
        command.output().unwrap()
    };
    let output = open("");
    assert!(output.status.success(), "{output:?}");
    let said = stderr(&output);
    assert!(said.contains("cannot open a browser here"), "{said}");
    let pages: Vec<_> = fs::read_dir(home.path().join(".vctl/pages"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(pages.len(), 1);
    assert!(said.contains(pages[0].to_str().unwrap()), "{said}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&pages[0]), 0o600);
    assert_eq!(mode(pages[0].parent().unwrap()), 0o700);
    // The page of the same session may be replaced.
    assert!(open("").status.success());
}
