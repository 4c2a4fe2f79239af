//! Sessions in a locale with only ASCII characters.

use super::Reading;

#[test]
fn a_session_is_ascii_in_the_c_locale() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    let opened = reading.log_in(None);
    let id = opened.id.to_string();
    for argv in [&[b"sh".as_slice()][..], &[b"touch", "gr\u{fc}n".as_bytes()]] {
        reading.exec(opened.id, argv);
    }
    reading.log_out(opened.id, 2);
    let spool = reading.source.dir.to_str().unwrap().to_owned();
    let shown = |locale: (&str, &str), args: &[&str]| {
        let local = ["session", "--local", "--spool", &spool, &id];
        let mut command = reading.command(&[&local[..], args].concat());
        let output = command.env_remove("LANG").env(locale.0, locale.1).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let usual = ("LANG", "C.UTF-8");
    assert!(shown(usual, &["--tree"]).contains('\u{2192}'));
    assert!(shown(usual, &[]).contains("gr\u{fc}n"));
    for locale in [
        ("LC_ALL", "C"),
        ("LANG", "POSIX"),
        ("LC_CTYPE", "de_DE.ISO-8859-1"),
        ("LANG", ""),
    ] {
        for args in [&[][..], &["--tree"], &["--full"], &["--tree", "--full"]] {
            let page = shown(locale, args);
            assert!(page.is_ascii(), "{locale:?} {args:?}: {page}");
            // The form is valid input for bash.
            assert!(
                page.contains(r"$'gr\u00fcn'"),
                "{locale:?} {args:?}: {page}"
            );
        }
        assert!(shown(locale, &["--tree"]).contains("-> "), "{locale:?}");
        for form in ["json", "jsonl", "yaml"] {
            assert_eq!(
                shown(locale, &["-o", form]),
                shown(usual, &["-o", form]),
                "{form}"
            );
        }
    }
}
