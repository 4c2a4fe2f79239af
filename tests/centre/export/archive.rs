//! `deploy/archive`: events as Parquet files, each once, unchanged, also after a run that was killed.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use vctl_common::session::{Gap, GapCause, JournalEntry};
use vctl_common::time::BootNs;
use vctl_tests::centre::duckdb;
use vctl_tests::lab::{PATIENCE, Programs, eventually};

use super::{Exporting, HOST, all_ids, ids_of, lines_of, vctl};

/// A host whose events go to an archive.
struct Archiving {
    exporting: Exporting,
    programs: PathBuf,
    archive: PathBuf,
}

impl Archiving {
    fn new() -> Option<Self> {
        let mut exporting = Exporting::new()?;
        exporting.ship();
        let (programs, archive) = (exporting.file("bin"), exporting.file("archive"));
        fs::create_dir(&programs).unwrap();
        fs::create_dir(&archive).unwrap();
        symlink(Programs::find().unwrap().vctl, programs.join("vctl")).unwrap();
        symlink(duckdb().unwrap(), programs.join("duckdb")).unwrap();
        Some(Self {
            exporting,
            programs,
            archive,
        })
    }

    /// Returns a run of `archive.sh` with the events of this spec's sessions only.
    fn script(&self) -> Command {
        let exporting = &self.exporting;
        let mut command = Command::new("sh");
        command.arg(files().join("archive.sh")).arg(&self.archive);
        command.args(["--host", HOST]);
        self.with_environment(&mut command, exporting);
        command
    }

    fn with_environment(&self, command: &mut Command, exporting: &Exporting) {
        let path = format!("{}:/usr/bin:/bin", self.programs.display());
        let of_vctl = vctl(exporting.centre, &exporting.auditor, &[]);
        command.env_clear();
        for (name, value) in of_vctl.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command.env("PATH", path);
    }

    fn run(&self) -> Output {
        self.script().output().unwrap()
    }

    /// Returns the result of a query of the archive, with the command of the page.
    fn ask(&self, query: &str) -> Output {
        let mut command = Command::new("duckdb");
        self.with_environment(&mut command, &self.exporting);
        command.arg("-init").arg(files().join("read.sql"));
        command.args(["-noheader", "-list", "-c", query]);
        command.current_dir(&self.archive).output().unwrap()
    }

    /// Returns the archived events of this spec as the export wrote them.
    fn events(&self) -> Vec<String> {
        let output = self.ask("select event from events");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let own = text.lines().filter(|line| self.is_own(line));
        own.map(str::to_owned).collect()
    }

    fn is_own(&self, line: &str) -> bool {
        let event = serde_json::from_str(line).unwrap();
        !ids_of(&[event], &self.exporting.source.sessions).is_empty()
    }
}

fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/archive")
}

#[test]
fn an_archive_returns_each_event_as_exported() {
    let Some(mut archiving) = Archiving::new() else {
        return;
    };
    let first = archiving.exporting.session(30, true);
    archiving.exporting.wait_for_end(first);
    let output = archiving.run();
    assert!(output.status.success(), "{output:?}");
    // The second run adds only what has arrived since.
    let second = archiving.exporting.session(2_000, true);
    archiving.exporting.wait_for_end(second);
    let output = archiving.run();
    assert!(output.status.success(), "{output:?}");
    assert!(!archiving.archive.join("new.jsonl").exists());

    let exporting = &archiving.exporting;
    let export = exporting.export(&exporting.file("other.pos"), &[]).output();
    let exported = String::from_utf8(export.unwrap().stdout).unwrap();
    let exported = exported.lines().filter(|line| archiving.is_own(line));
    let exported: BTreeSet<String> = exported.map(str::to_owned).collect();
    let archived = archiving.events();
    let truth = all_ids(&exporting.source.sessions);
    assert_eq!(archived.len(), truth.len());
    assert_eq!(BTreeSet::from_iter(archived), exported);
    // The columns find a session, in its order.
    let query = format!("select event from events where session = '{first}' order by sequence");
    let of_first = ids_of(
        &lines_of(&archiving.ask(&query)),
        &exporting.source.sessions,
    );
    assert_eq!(of_first.len(), 32);
    let nth = |nth: u64| {
        of_first
            .iter()
            .position(|id| *id == format!("{first}-{nth}"))
    };
    assert!((1..30).all(|n| nth(n) < nth(n + 1)), "{of_first:?}");
    // Each day has a directory, and other users cannot read it.
    let day = fs::read_dir(archiving.archive.join("parquet")).unwrap();
    let day = day.flatten().next().unwrap();
    let name = day.file_name().into_string().unwrap();
    assert!(name.starts_with("day=20"), "{name}");
    assert_eq!(day.metadata().unwrap().permissions().mode() & 0o077, 0);
}

#[test]
fn a_killed_archive_run_loses_and_doubles_nothing() {
    let Some(mut archiving) = Archiving::new() else {
        return;
    };
    let real = duckdb().unwrap();
    let program = archiving.programs.join("duckdb");
    let as_program = |script: &str| {
        fs::remove_file(&program).unwrap();
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    };
    let real_name = real.display();
    for script in [
        // Before the first file, behind all files, and behind the rename of the files.
        "kill -9 $PPID".to_owned(),
        format!("{real_name} \"$@\"; kill -9 $PPID"),
        format!("{real_name} \"$@\"; mkdir -p parquet; cp -r packing/* parquet; kill -9 $PPID"),
    ] {
        let id = archiving.exporting.session(50, true);
        archiving.exporting.wait_for_end(id);
        as_program(&script);
        let output = archiving.run();
        assert!(!output.status.success(), "{script}: {output:?}");
    }
    fs::remove_file(&program).unwrap();
    symlink(&real, &program).unwrap();
    let output = archiving.run();
    assert!(output.status.success(), "{output:?}");
    let archived = archiving.events();
    let truth = all_ids(&archiving.exporting.source.sessions);
    assert_eq!(archived.len(), truth.len());
    // The files have some events twice, which is what the kill was for.
    let stored = archiving.ask("select count(*) from read_parquet('parquet/*/*.parquet')");
    let stored = String::from_utf8(stored.stdout).unwrap();
    assert!(
        stored.trim().parse::<usize>().unwrap() > truth.len(),
        "{stored}"
    );
}

#[test]
fn an_archive_drops_no_line_and_no_wrong_time() {
    let Some(mut archiving) = Archiving::new() else {
        return;
    };
    let id = archiving.exporting.session(1, true);
    let at = BootNs(archiving.exporting.source.tick());
    let gap = Gap::new(GapCause::RingFull, Some(id), at, at);
    let source = &mut archiving.exporting.source;
    source.note(&JournalEntry::Gap(gap)).unwrap();
    let centre = archiving.exporting.centre;
    // The latest time that the store accepts, which is later than a number of nanoseconds can state.
    let late = format!(
        "with late as (update vctl.audit_gap set from_at = '2262-12-31', to_at = '2262-12-31' \
         where session_id = '{id}' returning id) select count(*) from late"
    );
    let stored = eventually(PATIENCE, || Ok(centre.ask(&late)? == "1"));
    assert!(stored.unwrap());
    let lines = archiving.archive.join("new.jsonl");
    // A line that is not JSON, as a damaged disk leaves it, and half a line, as a killed export does.
    fs::write(&lines, "{\"event\": \n{\"event\": {\"id\"").unwrap();
    let output = archiving.run();
    assert!(!output.status.success(), "{output:?}");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("new.jsonl"), "{error}");
    assert!(!archiving.archive.join("parquet").exists());
    let good = fs::read_to_string(&lines).unwrap();
    assert!(
        good.lines().skip(1).all(|line| line.ends_with('}')),
        "{good}"
    );
    let (_, good) = good.split_once('\n').unwrap();
    fs::write(&lines, format!("{good}{{\"event\": {{\"id\"")).unwrap();
    let output = archiving.run();
    assert!(output.status.success(), "{output:?}");
    let query = format!(
        "select day, time is null, count(*) from events where session = '{id}' group by all order by 1, 2"
    );
    let days = String::from_utf8(archiving.ask(&query).stdout).unwrap();
    let days: Vec<_> = days
        .lines()
        .map(|line| line.split_once('|').unwrap().1)
        .collect();
    assert_eq!(days, ["false|3", "true|1"]);
    let query = format!("select event from events where session = '{id}' and day = '2262-12-31'");
    let gap = lines_of(&archiving.ask(&query));
    assert_eq!(gap[0]["event"]["action"], "events-missing", "{gap:?}");
}

#[test]
fn two_archive_runs_at_once_are_refused() {
    let Some(archiving) = Archiving::new() else {
        return;
    };
    let lock = fs::File::create(archiving.archive.join("archive.lock")).unwrap();
    lock.lock().unwrap();
    let output = archiving.run();
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("another run uses"), "{error}");
    assert!(!archiving.archive.join("session.pos").exists());
}
