//! Tests of [`super::read`].

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use vctl_common::id::CertSerial;

use super::*;
use crate::exit_code::Exit;

/// Returns a pair of lines: request and response.
fn signed(minute: u32, id: u32, mount: &str, data: &str) -> [String; 2] {
    let entry = |kind: &str, rest: &str| {
        format!(
            "{{\"time\":\"2026-11-29T03:{minute:02}:54.6Z\",\"type\":\"{kind}\",\"auth\":{{\"display_name\":\"userpass-a\"}},\"request\":{{\"id\":\"{id}\",\"path\":\"{mount}/sign/r\",\"mount_type\":\"ssh\",\"mount_accessor\":\"ssh_1\"}}{rest}}}\n"
        )
    };
    let response = format!(",\"response\":{{\"data\":{data}}}");
    [entry("request", ""), entry("response", &response)]
}

fn serial(minute: u32, serial: u32) -> [String; 2] {
    let data = format!("{{\"serial_number\":\"{serial:x}\"}}");
    signed(minute, serial, "ssh", &data)
}

/// Returns a refused request for a role with a name of its own.
fn refused(id: u32) -> [String; 2] {
    let lines = signed(1, id, "ssh", "{\"error\":\"hmac-sha256:1\"}");
    lines.map(|line| line.replace("/sign/r", &format!("/sign/r{id}")))
}

struct Files {
    _dir: tempfile::TempDir,
    paths: Vec<PathBuf>,
}

impl Files {
    fn of(texts: &[&[u8]]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let write = |(index, text): (usize, &&[u8])| {
            let path = dir.path().join(format!("audit.log.{index}"));
            std::fs::write(&path, text).unwrap();
            path
        };
        let paths = texts.iter().enumerate().map(write).collect();
        Self { _dir: dir, paths }
    }

    fn read(&self) -> Result<AuditLog, CliError> {
        let far_away = UNIX_EPOCH + Duration::from_hours(24 * 365 * 200);
        self.read_within(UNIX_EPOCH, far_away)
    }

    fn read_within(&self, from: SystemTime, to: SystemTime) -> Result<AuditLog, CliError> {
        read(&LogQuery {
            files: self.paths.clone(),
            mounts: vec!["ssh".to_owned(), "ssh-next".to_owned()],
            namespace: String::new(),
            wanted: Span { from, to },
        })
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(text.as_bytes()).unwrap();
    out.finish().unwrap()
}

fn serials(log: &AuditLog) -> Vec<u64> {
    let known = log
        .signatures
        .iter()
        .filter_map(|signature| signature.serial);
    known.map(CertSerial::get).collect()
}

#[test]
fn rotated_and_compressed_files_are_one_log() {
    let (old, middle, new) = (
        serial(1, 1).concat(),
        serial(2, 2).concat(),
        serial(3, 3).concat(),
    );
    // Two compressed files in one, and a file that is there twice.
    let packed = [gzip(&middle), gzip(&serial(2, 4).concat())].concat();
    let log = Files::of(&[new.as_bytes(), &packed, old.as_bytes(), old.as_bytes()]);
    let log = log.read().unwrap();
    assert_eq!(serials(&log), [1, 2, 3, 4]);
    assert_eq!(
        (log.repeated, log.unreadable_count, log.entries()),
        (1, 0, 10)
    );
    let span = log.span().unwrap();
    assert_eq!(span.from + Duration::from_mins(2), span.to);
    assert!(log.unanswered.is_empty());
    let place = log.signatures[1].place;
    assert_eq!((place.file, place.line), (1, 2));
}

#[test]
fn entries_of_several_audit_devices_are_counted_once() {
    let one = serial(1, 1);
    let refused = signed(2, 2, "ssh", "{\"error\":\"hmac-sha256:1\"}");
    // Each device writes its own time.
    let later = |text: &String| text.replace("54.6Z", "54.7Z");
    let text = [&one[..], &refused[..]].concat();
    let again: Vec<String> = text.iter().map(later).collect();
    let interleaved: Vec<&str> = (text.iter().zip(&again))
        .flat_map(|(first, second)| [&**first, second])
        .collect();
    let (text, again) = (text.concat(), again.concat());
    let reversed: Vec<&str> = again.lines().rev().chain(text.lines().rev()).collect();
    for files in [
        vec![text.clone(), again.clone()],
        vec![interleaved.concat()],
        vec![reversed.join("\n")],
        // The second device stopped before the responses.
        vec![text.clone(), later(&one[0])],
    ] {
        let bytes: Vec<&[u8]> = files.iter().map(String::as_bytes).collect();
        let log = Files::of(&bytes).read().unwrap();
        assert_eq!(serials(&log), [1], "{files:?}");
        assert_eq!((log.refused, log.unanswered.len()), (1, 0), "{files:?}");
    }
    let overlapping = [text.as_bytes(), again.as_bytes()];
    assert_eq!(Files::of(&overlapping).read().unwrap().repeated, 1);
}

#[test]
fn hashed_serials_around_the_wanted_time_limit_the_log() {
    let hashed =
        |minute, id| signed(minute, id, "ssh", "{\"serial_number\":\"hmac-sha256:1\"}").concat();
    let text = [
        hashed(1, 1),
        hashed(2, 2),
        serial(3, 3).concat(),
        serial(9, 9).concat(),
        hashed(12, 12),
    ]
    .concat();
    let files = Files::of(&[text.as_bytes()]);
    let minute = |minute: u64| {
        let log = serial(u32::try_from(minute).unwrap(), 1).concat();
        Files::of(&[log.as_bytes()])
            .read()
            .unwrap()
            .span()
            .unwrap()
            .from
    };
    let log = files.read_within(minute(3), minute(10)).unwrap();
    assert!(log.hashed.is_none());
    let readable = Span {
        from: minute(2),
        to: minute(12),
    };
    assert_eq!(log.readable_span(), Some(readable));
    let log = files.read_within(minute(2), minute(10)).unwrap();
    assert_eq!(log.hashed.unwrap().count, 1);
}

#[test]
fn a_request_and_its_response_may_be_in_two_files() {
    let [request, response] = serial(1, 1);
    let log = Files::of(&[response.as_bytes(), request.as_bytes()])
        .read()
        .unwrap();
    assert!(log.unanswered.is_empty());
    let [_, lost] = serial(2, 2);
    let log = Files::of(&[request.as_bytes(), lost.as_bytes()])
        .read()
        .unwrap();
    assert_eq!(log.unanswered.len(), 1);
    assert_eq!(serials(&log), [2]);
}

#[test]
fn each_damaged_line_is_named_and_the_rest_is_read() {
    let text = [
        &serial(1, 1).concat(),
        "plain\n\n",
        "{\"@level\":\"info\"}\n",
        &serial(2, 2).concat(),
        "{\"time\":\"2026-11",
    ]
    .concat();
    let log = Files::of(&[text.as_bytes()]).read().unwrap();
    assert_eq!(serials(&log), [1, 2]);
    let places: Vec<_> = log.unreadable.iter().map(|line| line.place.line).collect();
    assert_eq!(places, [3, 5]);
    assert_eq!(log.cut_off.as_ref().unwrap().place.line, 8);
    // Only the newest file is still written.
    let newer = serial(5, 5).concat();
    let log = Files::of(&[text.as_bytes(), newer.as_bytes()])
        .read()
        .unwrap();
    assert_eq!(log.unreadable_count, 3);
    assert!(log.cut_off.is_none());
}

#[test]
fn a_line_over_the_limit_has_a_number_too() {
    let long = vec![b' '; (64 << 20) + 1];
    let (before, after) = (serial(1, 1).concat(), serial(2, 2).concat());
    let text = [
        before.as_bytes(),
        &long,
        b"\n",
        after.as_bytes(),
        b"plain\n",
    ]
    .concat();
    let log = Files::of(&[&text]).read().unwrap();
    let places: Vec<_> = log.unreadable.iter().map(|line| line.place.line).collect();
    assert_eq!(places, [3, 6]);
    let lines: Vec<_> = log.signatures.iter().map(|one| one.place.line).collect();
    assert_eq!((lines, log.files[0].lines), (vec![2, 5], 6));
}

#[test]
fn names_in_refused_requests_use_no_memory() {
    let signed = serial(1, 1).concat();
    let refused: String = (2..100)
        .map(|id| {
            let [request, response] = refused(id);
            request + &response
        })
        .collect();
    let log = Files::of(&[signed.as_bytes(), refused.as_bytes()]);
    let log = log.read().unwrap();
    assert_eq!((log.refused, log.unanswered.len()), (98, 0));
    let expected = Files::of(&[signed.as_bytes()]).read().unwrap();
    assert_eq!(log.names.len(), expected.names.len());
}

#[test]
fn a_cut_compressed_file_is_read_to_its_cut() {
    // Random enough for several blocks.
    let text: String = (0..20_000)
        .map(|n: u32| serial(n % 60, n.wrapping_mul(2_654_435_761) | 1).concat())
        .collect();
    let packed = gzip(&text);
    let log = Files::of(&[&packed[..packed.len() / 2]]).read().unwrap();
    assert!(log.signatures.len() > 1_000, "{}", log.signatures.len());
    assert_eq!(log.unreadable_count, 1);
    assert!(
        log.unreadable[0]
            .reason
            .contains("cannot be read any further")
    );
}

#[test]
fn a_file_of_another_kind_is_refused() {
    let message = |text: &[u8]| Files::of(&[text]).read().unwrap_err();
    let error = message(b"Jan 1 sshd[1]: hello\n");
    assert!(error.message.contains("is not an audit log"), "{error:?}");
    assert!(
        error.causes[0].contains("not one of 1 line is an entry"),
        "{error:?}"
    );
    let error = message(&[0x28, 0xb5, 0x2f, 0xfd, 0, 0]);
    assert!(error.message.contains("zstd"), "{error:?}");
    assert_eq!(message(b"{\"time\":\"2026").exit, Exit::Usage);
    let cut = &gzip(&serial(1, 1).concat())[..12];
    assert!(message(cut).message.ends_with("cannot be read"));
    assert!(Files::of(&[b""]).read().unwrap().span().is_none());
    let mut missing = Files::of(&[b""]);
    missing.paths.push("/nowhere/audit.log".into());
    assert_eq!(missing.read().unwrap_err().exit, Exit::NotFound);
}

#[test]
fn other_mounts_and_hashed_serials_are_counted() {
    let hashed = signed(1, 1, "ssh", "{\"serial_number\":\"hmac-sha256:1\"}").concat();
    // The file of another audit device.
    let again = hashed.replace("54.6Z", "54.7Z");
    let other = signed(1, 2, "team", "{\"serial_number\":\"1f\"}").concat();
    let refused = signed(1, 3, "ssh", "{\"error\":\"hmac-sha256:1\"}").concat();
    let text = [&hashed, &again, &other, &refused, &*serial(2, 5).concat()].concat();
    let log = Files::of(&[text.as_bytes()]).read().unwrap();
    assert_eq!(log.hashed.as_ref().unwrap().count, 1);
    assert_eq!(
        log.place(log.hashed.as_ref().unwrap().first)
            .rsplit(':')
            .next(),
        Some("2")
    );
    assert_eq!(log.foreign.keys().collect::<Vec<_>>(), ["team/"]);
    assert_eq!((log.refused, log.unanswered.len()), (1, 0));
}
