use super::*;
use proptest::prelude::*;
use std::os::unix::fs::{PermissionsExt, symlink};

fn file() -> LateLoginFile {
    let reader = ProcReader::host();
    let request = StampRequest {
        user: "root".to_owned(),
        auth_info: Some("x".repeat(60_000)),
        hook_started: BootNs(5),
        break_glass: true,
        ..StampRequest::fixture()
    };
    LateLoginFile {
        request,
        login: kernel_facts(&reader, std::process::id()).unwrap(),
        boot: reader.boot_id().unwrap(),
    }
}

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        let dir = Self(tempfile::tempdir().unwrap());
        fs::create_dir(dir.path()).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        dir
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("pending")
    }

    fn scan(&self) -> Scan {
        LateLoginDir::new(&self.path())
            .scan(&ProcReader::host())
            .unwrap()
    }
}

#[test]
fn a_late_login_stays_until_it_is_removed() {
    let dir = Dir::new();
    let file = file();
    write(&dir.path(), &file).unwrap();
    for _ in 0..2 {
        let scan = dir.scan();
        assert_eq!(scan.rejected, []);
        assert_eq!(scan.logins[0].request, file.request);
        assert_eq!(scan.logins[0].login.leader, file.login.leader);
    }
    let pending = LateLoginDir::new(&dir.path());
    pending.remove(file.request.session_id).unwrap();
    pending.remove(file.request.session_id).unwrap();
    assert_eq!(dir.scan().logins, []);
}

#[test]
fn an_ended_login_is_missed_even_if_its_pid_is_reused() {
    let dir = Dir::new();
    let mut reused = file();
    reused.login.leader.start = BootNs(reused.login.leader.start.0 + 10_000_000);
    let mut over = file();
    over.login.leader.tgid = u32::MAX;
    let mut before_reboot = file();
    before_reboot.boot = "00000000-0000-4000-8000-000000000000".parse().unwrap();
    let mut orphaned = file();
    orphaned.login = kernel_facts(&ProcReader::host(), 1).unwrap();
    for file in [&reused, &over, &before_reboot, &orphaned] {
        write(&dir.path(), file).unwrap();
    }
    let logins = dir.scan().logins;
    assert_eq!(logins.len(), 4);
    assert!(
        logins
            .iter()
            .all(|login| !login.alive && login.stamp(false) == Stamp::Missed)
    );
    let rebooted = logins
        .iter()
        .find(|l| l.request.session_id == before_reboot.request.session_id);
    assert_eq!(
        rebooted.map(|login| login.request.hook_started),
        Some(BootNs(0))
    );
}

#[test]
fn a_live_login_is_stamped_late_and_shows_break_glass() {
    let dir = Dir::new();
    let mut file = file();
    write(&dir.path(), &file).unwrap();
    assert_eq!(dir.scan().logins[0].stamp(true), Stamp::BreakGlass);
    file.request.break_glass = false;
    file.request.session_id = SessionId::generate();
    let dir = Dir::new();
    write(&dir.path(), &file).unwrap();
    assert_eq!(dir.scan().logins[0].stamp(true), Stamp::Late);
}

#[test]
fn no_name_service_is_asked_about_a_late_login() {
    let dir = Dir::new();
    let proc = tempfile::tempdir().unwrap();
    let boot = "01234567-89ab-4cde-8f01-23456789abcd";
    let zeros = "0 ".repeat(17);
    for (name, text) in [
        ("sys/kernel/random/boot_id", format!("{boot}\n")),
        ("4242/stat", format!("4242 (sshd) S 1 {zeros}777 0 0\n")),
        ("4242/loginuid", "4294967295".to_owned()),
    ] {
        let path = proc.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let reader = ProcReader::new(proc.path());
    // An account that every machine knows.
    let login = LateLoginFile {
        login: kernel_facts(&reader, 4242).unwrap(),
        boot: boot.parse().unwrap(),
        ..file()
    };
    write(&dir.path(), &login).unwrap();
    let scan = LateLoginDir::new(&dir.path()).scan(&reader).unwrap();
    let found = &scan.logins[0];
    assert!(found.alive && found.request.user == "root");
    assert_eq!(found.login.login_uid, None);
}

#[test]
fn logins_come_in_the_order_they_happened() {
    let dir = Dir::new();
    for started in [30, 10, 20] {
        let mut file = file();
        file.request.hook_started = BootNs(started);
        write(&dir.path(), &file).unwrap();
    }
    let started: Vec<u64> = dir
        .scan()
        .logins
        .iter()
        .map(|login| login.request.hook_started.0)
        .collect();
    assert_eq!(started, [10, 20, 30]);
}

#[test]
fn nothing_hostile_is_followed_and_all_of_it_is_moved_away() {
    let dir = Dir::new();
    let outside = dir.0.path().join("outside");
    fs::create_dir(&outside).unwrap();
    // Each is a valid file under its right name, but for one thing.
    let valid = || {
        let file = file();
        let name = file_name(file.request.session_id);
        (
            dir.path().join(&name),
            outside.join(&name),
            serde_json::to_vec(&file).unwrap(),
        )
    };
    let mut count = 0;
    let mut hostile = |plant: &dyn Fn(&Path, &Path, &[u8])| {
        let (inside, outside, bytes) = valid();
        plant(&inside, &outside, &bytes);
        count += 1;
    };
    hostile(&|inside, outside, bytes| {
        fs::write(outside, bytes).unwrap();
        symlink(outside, inside).unwrap();
    });
    hostile(&|inside, outside, bytes| {
        fs::write(outside, bytes).unwrap();
        fs::hard_link(outside, inside).unwrap();
    });
    hostile(&|inside, _, bytes| {
        fs::write(inside, bytes).unwrap();
        fs::set_permissions(inside, fs::Permissions::from_mode(0o662)).unwrap();
    });
    hostile(&|inside, _, bytes| {
        fs::write(
            inside.with_file_name(file_name(SessionId::generate())),
            bytes,
        )
        .unwrap();
    });
    hostile(&|inside, _, bytes| fs::write(inside.with_extension("JSON"), bytes).unwrap());
    hostile(&|inside, _, bytes| {
        let name = inside
            .file_stem()
            .unwrap()
            .to_str()
            .unwrap()
            .replace('-', "");
        fs::write(inside.with_file_name(name + ".json"), bytes).unwrap();
    });
    hostile(&|inside, _, bytes| {
        let padding = vec![b' '; usize::try_from(FILE_MAX).unwrap()];
        fs::write(inside, [bytes, &padding].concat()).unwrap();
    });
    hostile(&|inside, _, bytes| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        fs::write(inside, text.replace("\"version\":1", "\"version\":2")).unwrap();
    });
    hostile(&|inside, _, bytes| fs::write(inside, &bytes[..bytes.len() - 1]).unwrap());
    hostile(&|inside, _, _| fs::write(inside, "[".repeat(100_000)).unwrap());
    hostile(&|inside, _, _| fs::create_dir(inside).unwrap());
    hostile(&|inside, _, _| nix::unistd::mkfifo(inside, Mode::S_IRWXU).unwrap());
    hostile(&|inside, _, _| symlink("/dev/zero", inside).unwrap());
    hostile(&|inside, _, _| fs::write(inside.with_file_name("\u{1b}[2J"), "").unwrap());
    if nix::unistd::geteuid().is_root() {
        hostile(&|inside, _, bytes| {
            fs::write(inside, bytes).unwrap();
            std::os::unix::fs::chown(inside, Some(65534), None).unwrap();
        });
    }
    let good = file();
    write(&dir.path(), &good).unwrap();
    let before = fs::read_dir(&outside).unwrap().count();

    let scan = dir.scan();
    let names: Vec<_> = scan
        .logins
        .iter()
        .map(|login| login.request.session_id)
        .collect();
    assert_eq!(names, [good.request.session_id], "{:#?}", scan.rejected);
    assert_eq!(scan.rejected.len(), count, "{:#?}", scan.rejected);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), before);
    assert_eq!(
        fs::read_dir(dir.path().join(REJECTED)).unwrap().count(),
        count
    );
    assert_eq!(dir.scan().rejected, []);
}

#[test]
fn what_cannot_be_moved_away_is_reported_once() {
    let dir = Dir::new();
    symlink(dir.0.path(), dir.path().join(REJECTED)).unwrap();
    fs::write(dir.path().join("rubbish"), "").unwrap();
    let mut pending = LateLoginDir::new(&dir.path());
    assert_eq!(pending.scan(&ProcReader::host()).unwrap().rejected.len(), 1);
    assert_eq!(pending.scan(&ProcReader::host()).unwrap().rejected.len(), 0);
    assert!(dir.path().join("rubbish").exists());
}

#[test]
fn an_unfinished_late_login_is_left_alone() {
    let dir = Dir::new();
    let name = format!(".{}.tmp", file_name(SessionId::generate()));
    fs::write(dir.path().join(&name), "{").unwrap();
    let scan = dir.scan();
    assert_eq!((scan.logins.len(), scan.rejected.len()), (0, 0));
    assert!(dir.path().join(&name).exists());
}

#[test]
fn what_a_dying_hook_left_half_written_is_reported() {
    let dir = Dir::new();
    let path = dir
        .path()
        .join(format!(".{}.tmp", file_name(SessionId::generate())));
    let file = File::create(&path).unwrap();
    file.set_modified(wall_now() - Duration::from_mins(2))
        .unwrap();
    assert_eq!(dir.scan().rejected.len(), 1);
    assert!(!path.exists());
}

#[test]
fn a_directory_that_others_can_reach_is_refused() {
    let dir = Dir::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o750)).unwrap();
    assert!(matches!(
        write(&dir.path(), &file()),
        Err(LateLoginError::Unsafe { .. })
    ));
    let scan = LateLoginDir::new(&dir.path()).scan(&ProcReader::host());
    assert!(matches!(scan, Err(LateLoginError::Unsafe { .. })));
}

#[test]
fn a_missing_directory_has_no_late_logins() {
    let dir = tempfile::tempdir().unwrap();
    let mut pending = LateLoginDir::new(&dir.path().join("none"));
    assert_eq!(pending.scan(&ProcReader::host()).unwrap().logins, []);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse_file(&bytes, SessionId::generate());
    }

    #[test]
    fn a_damaged_late_login_is_whole_or_refused(at in any::<prop::sample::Index>(), byte: u8) {
        let file = file();
        let mut bytes = serde_json::to_vec(&file).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(read) = parse_file(&bytes, file.request.session_id) {
            prop_assert_eq!(read.request.session_id, file.request.session_id);
        }
    }
}
