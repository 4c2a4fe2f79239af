//! The signatures in the files of an audit log.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::time::SystemTime;

use uuid::Uuid;

use super::entry::{self, Entry, Signing, Step};
use super::lines::{Line, Lines};
use super::model::{Place, Signature, Span};
use super::names::Names;
use super::problem::{Problem, no_entries};
use super::progress::Progress;
use super::source;
use crate::error::CliError;

/// Maximum number of unreadable lines that are listed; all are counted.
const MOST_LISTED: usize = 20;

/// The files to read, and the SSH engines whose signatures count.
#[derive(Clone, Debug)]
pub(crate) struct LogQuery {
    pub(crate) files: Vec<PathBuf>,
    /// Mounts of our CAs, without a slash at the end.
    pub(crate) mounts: Vec<String>,
    /// Namespace of Vault; empty for the root.
    pub(crate) namespace: String,
    /// The time to compare. Hashed serials outside of it only limit the readable time.
    pub(crate) wanted: Span,
}

/// The content of one file.
#[derive(Clone, Debug)]
pub(crate) struct LogFile {
    pub(crate) name: String,
    pub(crate) lines: u64,
    pub(crate) entries: u64,
    /// Time of the first and the last entry.
    pub(crate) span: Option<Span>,
}

/// A line that is not an entry.
#[derive(Clone, Debug)]
pub(crate) struct Unreadable {
    pub(crate) place: Place,
    pub(crate) reason: String,
}

/// Signatures of which the log has only the hash of the serial.
#[derive(Clone, Debug)]
pub(crate) struct Hashed {
    pub(crate) count: u64,
    pub(crate) first: Place,
    pub(crate) last_at: SystemTime,
    pub(crate) mounts: BTreeSet<String>,
}

/// Everything that the comparison needs from the audit log.
#[derive(Debug, Default)]
pub(crate) struct AuditLog {
    pub(crate) files: Vec<LogFile>,
    pub(crate) names: Names,
    /// Ordered by serial.
    pub(crate) signatures: Vec<Signature>,
    /// Requests to sign that Vault refused.
    pub(crate) refused: u64,
    /// Requests to sign without a response in the log.
    pub(crate) unanswered: Vec<Signature>,
    pub(crate) hashed: Option<Hashed>,
    /// Time of the last hashed serial before the wanted time, and of the first one after it.
    hashed_around: (Option<SystemTime>, Option<SystemTime>),
    /// Signatures of SSH engines that are not ours: number and first place, by mount.
    pub(crate) foreign: BTreeMap<String, (u64, Place)>,
    /// Accessors of our mounts. A mount has one, until it is created again.
    pub(crate) accessors: BTreeMap<String, BTreeSet<String>>,
    /// The first lines that are not entries.
    pub(crate) unreadable: Vec<Unreadable>,
    pub(crate) unreadable_count: u64,
    /// The last line of the newest file, if it is incomplete.
    pub(crate) cut_off: Option<Unreadable>,
    /// Signatures that were read again: from the file of another audit device, or from a file that was named twice.
    pub(crate) repeated: usize,
}

/// Checks the files before any is read, so that a missing one is reported before a large one is read.
///
/// # Errors
/// A file cannot be opened.
pub(crate) fn check(files: &[PathBuf]) -> Result<(), CliError> {
    files.iter().try_for_each(|path| source::check(path))
}

/// Reads the files.
///
/// # Errors
/// A file cannot be opened, or has no entry of an audit log.
pub(crate) fn read(query: &LogQuery) -> Result<AuditLog, CliError> {
    let mut reader = LogReader {
        query,
        log: AuditLog::default(),
        asked: HashMap::new(),
        answered: HashSet::new(),
        cut_off: Vec::new(),
    };
    for index in 0..query.files.len() {
        reader.read_file(index)?;
    }
    Ok(reader.finish())
}

impl AuditLog {
    /// Returns the time from the first to the last entry; `None` if there are none.
    pub(crate) fn span(&self) -> Option<Span> {
        let spans = || self.files.iter().filter_map(|file| file.span);
        Some(Span {
            from: spans().map(|span| span.from).min()?,
            to: spans().map(|span| span.to).max()?,
        })
    }

    /// Returns the time whose serials are readable; `None` if there is none.
    pub(crate) fn readable_span(&self) -> Option<Span> {
        let span = self.span()?;
        let (before, after) = self.hashed_around;
        let readable = Span {
            from: before.unwrap_or(span.from),
            to: after.unwrap_or(span.to),
        };
        span.common(readable)
    }

    /// Returns `FILE:LINE`.
    pub(crate) fn place(&self, place: Place) -> String {
        let name = self.files.get(place.file).map_or("", |file| &file.name);
        format!("{name}:{}", place.line)
    }

    pub(crate) fn entries(&self) -> u64 {
        self.files.iter().map(|file| file.entries).sum()
    }

    fn note_unreadable(&mut self, unreadable: Unreadable) {
        self.unreadable_count += 1;
        if self.unreadable.len() < MOST_LISTED {
            self.unreadable.push(unreadable);
        }
    }
}

struct LogReader<'a> {
    query: &'a LogQuery,
    log: AuditLog,
    /// Requests to sign whose response was not read yet.
    asked: HashMap<u128, Asked>,
    /// All requests with a response. The files may be in any order, and several audit devices write each entry.
    answered: HashSet<u128>,
    /// The last lines of files, if they are incomplete.
    cut_off: Vec<Unreadable>,
}

/// A request to sign. Vault may refuse it, so its texts, which any client can choose, are not stored with the names.
struct Asked {
    at: SystemTime,
    mount: Box<str>,
    role: Box<str>,
    person: Box<str>,
    address: Box<str>,
    place: Place,
}

impl Asked {
    fn of(signing: &Signing<'_>, at: SystemTime, place: Place) -> Self {
        Self {
            at,
            mount: (&*signing.mount).into(),
            role: (&*signing.role).into(),
            person: (&*signing.person).into(),
            address: (&*signing.address).into(),
            place,
        }
    }

    fn signature(&self, names: &mut Names, request: Option<u128>) -> Signature {
        Signature {
            serial: None,
            request,
            at: self.at,
            mount: names.of(&self.mount),
            role: names.of(&self.role),
            person: names.of(&self.person),
            address: names.of(&self.address),
            place: self.place,
        }
    }
}

impl LogReader<'_> {
    fn read_file(&mut self, index: usize) -> Result<(), CliError> {
        let path = &self.query.files[index];
        let opened = source::open(path)?;
        let mut progress = Progress::new(&source::name(path), opened.size, opened.read);
        self.log.files.push(LogFile {
            name: source::name(path),
            lines: 0,
            entries: 0,
            span: None,
        });
        let mut first_problem = None;
        let mut lines = Lines::new(opened.input);
        loop {
            let problem = match lines.next() {
                Ok(None) => break,
                Ok(Some(line)) => match self.read_line(index, &line) {
                    Ok(()) => {
                        progress.step();
                        continue;
                    }
                    Err(problem) => problem,
                },
                Err(error) => Problem::Rest(error.to_string()),
            };
            let is_over = matches!(problem, Problem::Rest(_));
            let unreadable = Unreadable {
                place: Place {
                    file: index,
                    line: self.log.files[index].lines + u64::from(is_over),
                },
                reason: problem.to_string(),
            };
            if matches!(problem, Problem::LastLine(_)) {
                self.cut_off.push(unreadable);
            } else {
                self.log.note_unreadable(unreadable);
            }
            first_problem.get_or_insert(problem);
            if is_over {
                break;
            }
        }
        progress.finish();
        let file = &self.log.files[index];
        match first_problem {
            Some(problem) if file.entries == 0 => Err(no_entries(&file.name, file.lines, &problem)),
            _ => Ok(()),
        }
    }

    fn read_line(&mut self, file: usize, line: &Line<'_>) -> Result<(), Problem> {
        self.log.files[file].lines += 1;
        let (bytes, is_last) = match *line {
            Line::TooLong => {
                return Err(Problem::Line("the line is longer than 64 MiB".to_owned()));
            }
            Line::Text {
                bytes,
                is_last_without_newline,
            } => (bytes, is_last_without_newline),
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let problem = |reason: String| {
            if is_last {
                Problem::LastLine(reason)
            } else {
                Problem::Line(reason)
            }
        };
        let entry = entry::parse(bytes).map_err(|error| problem(error.to_string()))?;
        let at = match &entry {
            Entry::Signing(signing) => signing.at,
            Entry::Other { at } => *at,
        };
        let Some(at) = at else {
            return Err(problem("the entry has no time that can be read".to_owned()));
        };
        let file_read = &mut self.log.files[file];
        let line = file_read.lines;
        file_read.entries += 1;
        let span = file_read.span.get_or_insert(Span { from: at, to: at });
        (span.from, span.to) = (span.from.min(at), span.to.max(at));
        if let Entry::Signing(signing) = entry {
            self.take(&signing, at, Place { file, line });
        }
        Ok(())
    }

    fn take(&mut self, signing: &Signing<'_>, at: SystemTime, place: Place) {
        let namespace = signing.namespace.trim_matches('/');
        if namespace != self.query.namespace || !self.query.mounts.contains(&signing.mount) {
            let is_signed = !matches!(signing.step, Step::Requested | Step::Refused);
            if is_signed {
                let mount = format!("{namespace}/{}/", signing.mount);
                let mount = mount.trim_start_matches('/').to_owned();
                self.log.foreign.entry(mount).or_insert((0, place)).0 += 1;
            }
            return;
        }
        let accessors = self.log.accessors.entry(signing.mount.clone()).or_default();
        // Bounded: the files may be of any number of servers.
        if !signing.accessor.is_empty() && accessors.len() < MOST_LISTED {
            accessors.insert(signing.accessor.to_string());
        }
        let request = request_number(&signing.request_id);
        if signing.step == Step::Requested {
            if let Some(request) = request.filter(|request| !self.answered.contains(request)) {
                let asked = self.asked.entry(request);
                asked.or_insert_with(|| Asked::of(signing, at, place));
            }
            return;
        }
        let is_new = request.is_none_or(|request| {
            self.asked.remove(&request);
            self.answered.insert(request)
        });
        let serial = match signing.step {
            Step::Signed(serial) => Some(serial),
            Step::NoSerial => None,
            Step::Requested | Step::Refused => {
                self.log.refused += u64::from(is_new);
                return;
            }
            Step::Hashed => {
                if is_new {
                    self.take_hashed(signing, at, place);
                }
                return;
            }
        };
        let signature = Asked::of(signing, at, place).signature(&mut self.log.names, request);
        let signature = Signature {
            serial,
            ..signature
        };
        self.log.signatures.push(signature);
    }

    fn take_hashed(&mut self, signing: &Signing<'_>, at: SystemTime, place: Place) {
        let (wanted, around) = (self.query.wanted, &mut self.log.hashed_around);
        if at < wanted.from {
            around.0 = around.0.max(Some(at));
            return;
        }
        if at > wanted.to {
            around.1 = Some(around.1.map_or(at, |first| first.min(at)));
            return;
        }
        let hashed = self.log.hashed.get_or_insert_with(|| Hashed {
            count: 0,
            first: place,
            last_at: at,
            mounts: BTreeSet::new(),
        });
        hashed.count += 1;
        hashed.last_at = hashed.last_at.max(at);
        hashed.mounts.insert(signing.mount.clone());
    }

    fn finish(self) -> AuditLog {
        let mut log = self.log;
        let end = |place: Place| log.files[place.file].span.map(|span| span.to);
        let newest = log
            .files
            .iter()
            .filter_map(|file| file.span)
            .map(|span| span.to)
            .max();
        let (newest, older): (Vec<_>, Vec<_>) = self
            .cut_off
            .into_iter()
            .partition(|cut| end(cut.place) == newest);
        log.cut_off = newest.into_iter().next();
        for cut in older {
            log.note_unreadable(cut);
        }
        let unanswered = self.asked.into_iter();
        log.unanswered = unanswered
            .map(|(request, asked)| asked.signature(&mut log.names, Some(request)))
            .collect();
        log.unanswered.sort_by_key(|request| request.at);
        log.signatures
            .sort_by_key(|one| (one.serial, one.request, one.at));
        let before = log.signatures.len();
        // Each audit device writes its own time, so the time does not show a repetition.
        log.signatures.dedup_by_key(|one| {
            (
                one.serial,
                one.request,
                one.request.is_none().then_some(one.at),
            )
        });
        log.repeated = before - log.signatures.len();
        log
    }
}

/// Returns the id of a request as a number; `None` if the entry has no id. Vault's ids are UUIDs.
fn request_number(id: &str) -> Option<u128> {
    if id.is_empty() {
        return None;
    }
    if let Ok(uuid) = Uuid::try_parse(id) {
        return Some(uuid.as_u128());
    }
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    Some(u128::from(hasher.finish()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::{Duration, UNIX_EPOCH};

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
        let hashed = |minute, id| {
            signed(minute, id, "ssh", "{\"serial_number\":\"hmac-sha256:1\"}").concat()
        };
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
}
