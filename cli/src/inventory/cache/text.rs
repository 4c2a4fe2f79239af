//! Output of `vctl cache`, in every format, as documented in docs/outage.md.

use std::io::{self, Write};

use anstyle::Style;
use jiff::Timestamp;
use serde::Serialize;
use vctl_common::causes::WithCauses;

use crate::inventory::cache::{CacheError, Snapshot, SnapshotFile};
use crate::login::CentreId;
use crate::ui::columns::Columns;
use crate::ui::records::Records;
use crate::ui::{Layout, WARN, paragraph, sanitize, time};

/// A cache file, with the hosts if they can be read.
pub(crate) struct CacheFile {
    path: String,
    /// The centre of the hosts in the file.
    origin: Option<CentreId>,
    snapshot: Option<Snapshot>,
    /// The reason why the file is not used.
    problem: Option<String>,
}

impl CacheFile {
    /// Reads the cache file; `None` if there is no file.
    pub(crate) fn of(file: &SnapshotFile, now: Timestamp) -> Option<Self> {
        let path = file.path().display().to_string();
        Some(match file.read(now) {
            Ok(snapshot) => Self {
                path,
                origin: Some(file.origin().clone()),
                snapshot: Some(snapshot),
                problem: None,
            },
            Err(CacheError::Absent) => return None,
            Err(unusable) => {
                let problem = WithCauses(&unusable).to_string();
                let origin = match unusable {
                    CacheError::Foreign(origin) => Some(*origin),
                    _ => None,
                };
                Self {
                    path,
                    origin,
                    snapshot: None,
                    problem: Some(problem),
                }
            }
        })
    }
}

/// Cache files, and the time for their ages.
pub(crate) struct Caches {
    pub(crate) now: Timestamp,
}

#[derive(Serialize)]
struct CachedJson<'a> {
    path: &'a str,
    vault_addr: Option<&'a str>,
    vault_namespace: Option<&'a str>,
    database: Option<&'a str>,
    usable: bool,
    problem: Option<&'a str>,
    hosts: Option<usize>,
    taken_at: Option<String>,
    age_s: Option<u64>,
}

impl Records for Caches {
    const NAME: &'static str = "caches";
    const VERSION: u32 = 1;
    const COLUMNS: &'static [&'static str] = &[
        "path",
        "vault_addr",
        "vault_namespace",
        "database",
        "usable",
        "problem",
        "hosts",
        "taken_at",
        "age_s",
    ];
    type Record = CacheFile;

    fn json(&self, cached: &CacheFile) -> impl Serialize {
        self.shown(cached)
    }

    fn name(&self, cached: &CacheFile) -> String {
        sanitize::text(&cached.path)
    }
}

impl Caches {
    fn shown<'a>(&self, cached: &'a CacheFile) -> CachedJson<'a> {
        let (origin, snapshot) = (cached.origin.as_ref(), cached.snapshot.as_ref());
        CachedJson {
            path: &cached.path,
            vault_addr: origin.map(|origin| &*origin.vault.addr),
            vault_namespace: origin.and_then(|origin| origin.vault.namespace.as_deref()),
            database: origin.map(|origin| &*origin.database),
            usable: cached.problem.is_none(),
            problem: cached.problem.as_deref(),
            hosts: snapshot.map(|snapshot| snapshot.hosts.len()),
            taken_at: snapshot.map(|snapshot| time::seconds(snapshot.taken_at.into())),
            age_s: snapshot.map(|snapshot| snapshot.age(self.now).unsigned_abs().as_secs()),
        }
    }
}

const COLUMNS: Columns<5> = Columns {
    names: ["HOSTS", "AS OF", "AGE", "DATABASE", "FILE"],
    elastic: &[3, 4],
    spare: &[],
};

pub(crate) fn write(
    out: &mut dyn Write,
    cached: &[CacheFile],
    now: Timestamp,
    layout: Layout,
) -> io::Result<()> {
    let dash = || "-".to_owned();
    let rows = cached.iter().map(|cached| {
        let snapshot = cached.snapshot.as_ref();
        let origin = cached.origin.as_ref();
        [
            snapshot.map_or_else(dash, |snapshot| snapshot.hosts.len().to_string()),
            snapshot.map_or_else(dash, |snapshot| time::seconds(snapshot.taken_at.into())),
            snapshot.map_or_else(dash, |snapshot| time::age(snapshot.age(now).unsigned_abs())),
            origin.map_or_else(dash, |origin| sanitize::text(&origin.database)),
            sanitize::text(&cached.path),
        ]
    });
    COLUMNS.write(out, &rows.collect::<Vec<_>>(), layout)?;
    for problem in cached.iter().filter_map(|cached| cached.problem.as_ref()) {
        write!(out, "{WARN}not used:{WARN:#} ")?;
        paragraph::write(out, "not used: ".len(), problem, Style::new(), layout.width)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use vctl_common::centre::{DbSettings, Settings, VaultSettings};

    use super::*;
    use crate::files::state_dir::StateDir;
    use crate::fixture::rendered;
    use crate::inventory::tests::host;
    use crate::ui::format::OutputFormat;
    use crate::ui::json::schema;
    use crate::ui::records;

    const NOON: Timestamp = Timestamp::constant(1_795_000_000, 0);

    #[test]
    fn each_state_of_the_cache_matches_the_schema() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let mut settings = Settings {
                vault: VaultSettings::new("https://vault.example:8200"),
                db: DbSettings::new("db.example"),
            };
            settings.db.name = name.to_owned();
            SnapshotFile::in_dir(&StateDir::at(dir.path()), &settings)
        };
        let shown = |name: &str| {
            let cached: Vec<CacheFile> = CacheFile::of(&file(name), NOON).into_iter().collect();
            let kind = Caches { now: NOON };
            let text = rendered(|out| records::write(out, OutputFormat::Json, &kind, &cached));
            let document = serde_json::from_str(&text).unwrap();
            schema::assert_fits(schema::OF_CACHES, None, &document);
            document
        };
        let caches = |document: &serde_json::Value| document["caches"].as_array().unwrap().len();
        assert_eq!(caches(&shown("vctl")), 0);
        file("vctl").write(&[host("web-1")], NOON).unwrap();
        assert_eq!(shown("vctl")["caches"][0]["hosts"], 1);
        let foreign = shown("staging");
        assert_eq!(foreign["caches"][0]["database"], "db.example:5432/vctl");
        fs::write(file("vctl").path(), "{").unwrap();
        assert_eq!(shown("vctl")["caches"][0]["usable"], false);
    }
}
