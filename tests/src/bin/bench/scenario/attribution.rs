//! Fifty users at once on one Unix account. Each runs commands that leave the login. Every event must be in the session
//! of the right serial.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use vctl_tests::lab::{Options, Undo};
use vctl_tests::load::stats::u64_as_f64;
use vctl_tests::truth::{self, Running, Truth};

use crate::report::Findings;
use crate::rig::{Bench, Rig};
use crate::stored;

/// Each line runs `$T` once with a name for the case, or `each` times in a loop.
const WORK: &str = r#"
sed -n 's/^0:://p' /proc/self/cgroup > cgroup-$VCTL_CASE
$T plain
setsid $T new-session
nohup $T no-hangup > /dev/null 2>&1 < /dev/null
( ( $T double-fork & ) & )
setsid sh -c "sleep 0.2; $T orphan" > /dev/null 2>&1 < /dev/null &
$AS_ROOT $T by-sudo
$AS_ROOT su -c "$T by-su"
$AS_ROOT runuser -u $(id -un) -- $T by-runuser
$AS_ROOT unshare --user --map-root-user $T user-namespace
$AS_ROOT unshare --pid --fork $T pid-namespace
$AS_ROOT unshare --mount --uts --ipc --net $T four-namespaces
$AS_ROOT sh -c "echo 0 > /proc/self/loginuid; $T login-uid-reset"
$ODD memfd $T from-memory
$ODD thread $T from-a-thread
tmux -f /dev/null -L bench-$VCTL_CASE new-session -d "$T in-tmux"
screen -dmS bench-$VCTL_CASE $T in-screen
i=0; while [ ! -s cgroup-$NEIGHBOUR ] && [ $i -lt 300 ]; do sleep 0.1; i=$((i+1)); done
$AS_ROOT sh -c "echo \$\$ > $CGROUPS$(cat cgroup-$NEIGHBOUR)/cgroup.procs; $T in-another-cgroup"
i=0; while [ $i -lt $EACH ]; do /bin/true $VCTL_CASE; $T again; i=$((i+1)); done
"#;
const LINES_WITH_TRUTH: u64 = 17;

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let people = bench.full_or_short(50, 5);
    let each = bench.full_or_short(150, 5);
    let options = Options {
        cgroup_per_login: true,
        ..Options::default()
    };
    let rig = bench.rig(&options)?;
    let stage = Stage::set(&rig)?;
    let few_pids = FewPids::set(&rig, people)?;
    work(&rig, &stage, people, each)?;
    drop(few_pids);
    let sessions = stored::all_closed(&rig, usize::try_from(people)?)?;
    let truths = stage.told()?;
    let expected = people * (LINES_WITH_TRUTH + each);
    ensure!(
        truths.len() as u64 == expected,
        "{} of {expected} processes ran",
        truths.len()
    );
    let found = compare(&rig, people, &truths)?;
    let complete = sessions.iter().filter(|session| session.complete).count();
    findings.exactly("sessions", sessions.len() as u64, "sessions", people);
    findings.exactly(
        "sessions that are complete",
        complete as u64,
        "sessions",
        people,
    );
    findings.state(
        "processes that told what they are",
        u64_as_f64(expected),
        "processes",
    );
    findings.state(
        "pids used more than once",
        u64_as_f64(reused(&truths)),
        "pids",
    );
    findings.exactly("execs with the wrong serial", found.wrong, "execs", 0);
    findings.exactly("execs missing", found.missing, "execs", 0);
    findings.exactly("exits missing", found.no_exit, "exits", 0);
    Ok(findings)
}

fn work(rig: &Rig, stage: &Stage, people: u64, each: u64) -> Result<()> {
    let cgroups = rig.lab.cgroups()?;
    let logins = (1..=people)
        .map(|serial| {
            let who = rig.lab.certificate(&serial.to_string(), serial)?;
            let script = format!(
                "{}NEIGHBOUR={} CGROUPS={} EACH={each}\n{WORK}",
                stage.variables(serial),
                serial % people + 1,
                cgroups.display()
            );
            rig.lab.ssh_start(&who, script)
        })
        .collect::<Result<Vec<_>>>()?;
    for login in logins {
        let output = login.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "a login ended with {}: {said}",
            output.status
        );
    }
    Ok(())
}

#[derive(Default)]
struct Found {
    wrong: u64,
    missing: u64,
    no_exit: u64,
}

/// USER_HZ is 100: /proc shows the start of a process in this unit.
const NS_PER_TICK: u64 = 10_000_000;

/// Looks up each process of the truth file in every session.
fn compare(rig: &Rig, people: u64, truths: &[Running]) -> Result<Found> {
    // (pid, start in ticks, name of the case) → serials of the sessions that contain it.
    let mut shown: HashMap<(u32, u64, String), Vec<u64>> = HashMap::new();
    let mut exits = BTreeSet::new();
    for serial in 1..=people {
        for session in stored::of_serial(rig, serial)? {
            for (argv, process) in session.execs() {
                let key = (process.tgid, process.start.0 / NS_PER_TICK);
                let what = argv.last().cloned().unwrap_or_default();
                shown.entry((key.0, key.1, what)).or_default().push(serial);
                if session.has_exit(process) {
                    exits.insert(key);
                }
            }
        }
    }
    let mut found = Found::default();
    for truth in truths {
        let what = truth
            .argv
            .last()
            .map(|item| String::from_utf8_lossy(item).into_owned());
        let key = (truth.pid, truth.start, what.unwrap_or_default());
        let own = truth.case.parse::<u64>()?;
        match shown.get(&key) {
            None => found.missing += 1,
            Some(serials) => {
                found.wrong += serials.iter().filter(|&&serial| serial != own).count() as u64;
                found.missing += u64::from(!serials.contains(&own));
            }
        }
        found.no_exit += u64::from(!exits.contains(&(truth.pid, truth.start)));
    }
    Ok(found)
}

fn reused(truths: &[Running]) -> u64 {
    let mut starts: HashMap<u32, BTreeSet<u64>> = HashMap::new();
    for truth in truths {
        starts.entry(truth.pid).or_default().insert(truth.start);
    }
    starts.values().filter(|starts| starts.len() > 1).count() as u64
}

/// Programs of the sessions, in a directory where every account can run them, and their truth file.
struct Stage {
    bin: PathBuf,
    truth: PathBuf,
}

impl Stage {
    fn set(rig: &Rig) -> Result<Self> {
        let bin = rig.lab.root().join("bin");
        fs::create_dir(&bin)?;
        for program in ["exec-target", "odd-exec"] {
            fs::copy(rig.lab.programs.directory.join(program), bin.join(program))?;
        }
        let truth = rig.lab.root().join("truth");
        File::create(&truth)?.set_permissions(Permissions::from_mode(0o666))?;
        Ok(Self { bin, truth })
    }

    fn variables(&self, serial: u64) -> String {
        let (bin, truth) = (self.bin.display(), self.truth.display());
        format!(
            "export VCTL_TRUTH={truth} VCTL_CASE={serial}\n\
             T={bin}/exec-target ODD={bin}/odd-exec\n\
             AS_ROOT='sudo -n env VCTL_TRUTH={truth} VCTL_CASE={serial}'\n"
        )
    }

    fn told(&self) -> Result<Vec<Running>> {
        let truths = truth::read(&self.truth)?.into_iter();
        let running = truths.filter_map(|truth| match truth {
            Truth::Running(running) => Some(*running),
            _ => None,
        });
        Ok(running.collect())
    }
}

/// Makes the kernel reuse pids quickly as long as it lives.
struct FewPids {
    before: String,
}

const PID_MAX: &str = "/proc/sys/kernel/pid_max";

impl FewPids {
    /// Leaves pids for the processes that already run and for the logins. Each login has about thirty processes.
    fn set(rig: &Rig, people: u64) -> Result<Self> {
        let before = fs::read_to_string(PID_MAX)?;
        // The journal restores the value also after a kill: the next lab does it.
        rig.lab.journal().before(Undo::WriteFile {
            path: PID_MAX.into(),
            content: before.clone(),
        })?;
        let loadavg = fs::read_to_string("/proc/loadavg")?;
        let running = loadavg
            .split(['/', ' '])
            .nth(4)
            .and_then(|tasks| tasks.parse::<u64>().ok());
        let most = running.context("/proc/loadavg does not have the form in proc(5)")?
            + 1000
            + 60 * people;
        fs::write(PID_MAX, most.to_string())?;
        Ok(Self { before })
    }
}

impl Drop for FewPids {
    fn drop(&mut self) {
        // The lab's journal tries again and reports an error.
        let _ = fs::write(PID_MAX, &self.before);
    }
}
