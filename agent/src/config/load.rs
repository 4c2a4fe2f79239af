//! From the four places to one configuration that knows where each value came from.

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Config;
use super::file;
use super::keys::{KEYS, Key};
use super::value::Raw;

pub const DEFAULT_FILE: &str = "/etc/vctl/agent.yaml";

/// Far more than every key needs; a device or a log given by mistake must not fill memory.
const FILE_MAX: u64 = 1 << 20;

/// Where values may come from, beside the defaults.
pub struct Inputs<'a> {
    /// Key name and text of each flag given.
    pub flags: &'a [(String, String)],
    /// Looks up one environment variable; an empty value counts as not set.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// From `--config`. Must exist.
    pub file: Option<&'a Path>,
    /// The kernel's name of this host.
    pub host_name: &'a str,
}

/// Where the value of one key came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Default,
    File { path: PathBuf, line: u64 },
    Env(String),
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => f.write_str(name),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// A configuration, and the source of each key in the order of [`KEYS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    pub config: Config,
    pub sources: Vec<Source>,
}

/// One thing that is wrong, and where it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {what}")]
pub struct Problem {
    pub at: Source,
    pub what: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Whoever can write the file decides who is recorded and where, so as root it has to be
    /// root's.
    #[error("`{}` {why}", path.display())]
    Unsafe { path: PathBuf, why: &'static str },
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        path: PathBuf,
        line: u64,
        message: String,
    },
    /// All of them, so that a file is put right in one go.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Returns the configuration the inputs make.
///
/// # Errors
/// A named file that is not there, a file others than root can write, YAML that is none, an
/// unknown key, a value its key does not take.
pub fn load(inputs: &Inputs<'_>) -> Result<Loaded, ConfigError> {
    let (loaded, problems) = merge(inputs)?;
    if problems.is_empty() {
        Ok(loaded)
    } else {
        Err(ConfigError::Invalid(problems))
    }
}

/// Returns the best configuration there is, with what was wrong for syslog.
///
/// For the stamper, where a slip in the file must not lock people out: what cannot be read counts
/// as not written. A host that has to stay strict whatever happens to its file says `--mode strict`
/// in the PAM line.
pub fn load_for_stamp(file: Option<&Path>, flags: &[(String, String)]) -> (Config, Vec<String>) {
    // The environment is left out on purpose: with `user_readenv=1` pam_env lets users write it.
    let inputs = |file| Inputs {
        flags,
        env: &|_| None,
        file,
        host_name: "",
    };
    match merge(&inputs(file)) {
        Ok((loaded, problems)) => (
            loaded.config,
            problems.iter().map(ToString::to_string).collect(),
        ),
        Err(error) => {
            let mut config = Config::default();
            let mut said = vec![error.to_string()];
            for (name, text) in flags {
                if let Err(problem) = set_flag(&mut config, name, text) {
                    said.push(problem.to_string());
                }
            }
            (config, said)
        }
    }
}

fn merge(inputs: &Inputs<'_>) -> Result<(Loaded, Vec<Problem>), ConfigError> {
    let mut config = Config::default();
    let mut problems = Vec::new();
    let mut sources = vec![Source::Default; KEYS.len()];
    if !inputs.host_name.is_empty() {
        inputs.host_name.clone_into(&mut config.host);
    }

    for (source, name, raw) in written(inputs)? {
        let Some(index) = KEYS.iter().position(|key| key.name == name) else {
            let what = unknown(&name);
            problems.push(Problem { at: source, what });
            continue;
        };
        match set(&mut config, &KEYS[index], &raw) {
            Ok(()) => sources[index] = source,
            Err(what) => problems.push(Problem { at: source, what }),
        }
    }
    let pair = |a: &str, b: &str| [a, b].map(|name| KEYS.iter().position(|key| key.name == name));
    if config.spool_cap.bytes() < config.segment_size.bytes().saturating_mul(2) {
        let [cap, segment] = pair("spool_cap", "segment_size").map(Option::unwrap_or_default);
        let at = [cap, segment]
            .into_iter()
            .find(|&i| sources[i] != Source::Default);
        problems.push(Problem {
            at: sources[at.unwrap_or(cap)].clone(),
            what: format!(
                "`spool_cap` {} holds less than two segments of `segment_size` {}",
                config.spool_cap, config.segment_size
            ),
        });
    }
    Ok((Loaded { config, sources }, problems))
}

/// Everything that was written, weakest first: a later one overrides.
fn written(inputs: &Inputs<'_>) -> Result<Vec<(Source, String, Raw)>, ConfigError> {
    let mut all = Vec::new();
    let path = inputs.file.unwrap_or(Path::new(DEFAULT_FILE));
    if let Some(text) = read(path, inputs.file.is_some())? {
        let entries = file::parse(&text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            line: error.line.unwrap_or(1),
            message: error.message,
        })?;
        for entry in entries {
            let at = Source::File {
                path: path.to_owned(),
                line: entry.line,
            };
            // An unknown key is a mistake with or without a value.
            match entry.value {
                Some(raw) => all.push((at, entry.key, raw)),
                None if super::key(&entry.key).is_none() => {
                    all.push((at, entry.key, Raw::Text(String::new())));
                }
                None => {}
            }
        }
    }
    for key in KEYS {
        let name = key.env();
        let Some(text) = (inputs.env)(&name).filter(|text| !text.is_empty()) else {
            continue;
        };
        let text = text.to_string_lossy().into_owned();
        all.push((Source::Env(name), key.name.to_owned(), Raw::Text(text)));
    }
    for (name, text) in inputs.flags {
        let flag = Source::Flag(name.replace('_', "-"));
        all.push((flag, name.clone(), Raw::Text(text.clone())));
    }
    Ok(all)
}

fn set_flag(config: &mut Config, name: &str, text: &str) -> Result<(), Problem> {
    let at = Source::Flag(name.replace('_', "-"));
    match super::key(name) {
        Some(key) => set(config, key, &Raw::Text(text.to_owned())),
        None => Err(unknown(name)),
    }
    .map_err(|what| Problem { at, what })
}

fn set(config: &mut Config, key: &Key, raw: &Raw) -> Result<(), String> {
    (key.set)(config, raw).map_err(|why| format!("value of `{}`: {why}", key.name))
}

fn unknown(name: &str) -> String {
    let shown = name.escape_debug();
    match closest(name) {
        Some(key) => format!("unknown key `{shown}` (did you mean `{key}`?)"),
        None => format!("unknown key `{shown}`"),
    }
}

/// Returns the key that a typing mistake is nearest to.
fn closest(name: &str) -> Option<&'static str> {
    // A mistake every third letter is still a mistake; more is another word. Anything longer than
    // every key is no typing mistake, and the distance of two texts takes the product of lengths.
    if name.len() > 40 {
        return None;
    }
    let name = name.replace('-', "_").to_ascii_lowercase();
    KEYS.iter()
        .map(|key| (distance(&name, key.name), key.name))
        .min()
        .filter(|(distance, key)| *distance <= key.len() / 3)
        .map(|(_, key)| key)
}

/// Levenshtein distance in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Returns the text of the file, `None` when it is not there and nobody asked for it.
fn read(path: &Path, required: bool) -> Result<Option<String>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = match OpenOptions::new()
        .read(true)
        // A FIFO would hang the login that waits for the stamper.
        .custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_CLOEXEC)
        .open(path)
    {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !required => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    if let Some(why) = unsafe_because(&file).map_err(unreadable)? {
        return Err(ConfigError::Unsafe {
            path: path.to_owned(),
            why,
        });
    }
    let mut text = String::new();
    file.take(FILE_MAX)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    Ok(Some(text))
}

fn unsafe_because(file: &File) -> io::Result<Option<&'static str>> {
    let meta = file.metadata()?;
    let as_root = nix::unistd::geteuid().is_root();
    Ok(if !meta.is_file() {
        Some("is not a regular file")
    } else if meta.len() > FILE_MAX {
        Some("is larger than 1 MiB")
    } else if as_root && meta.uid() != 0 {
        Some("is not owned by root")
    } else if as_root && meta.mode() & 0o022 != 0 {
        Some("can be written by others than root")
    } else {
        None
    })
}
