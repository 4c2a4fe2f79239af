use std::collections::BTreeMap;

use proptest::prelude::*;
use vctl_common::spool::RingPosition;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Open(u32),
    Events {
        session: u32,
        count: u64,
    },
    Close(u32),
    Commit,
    /// `kill -9`: what is in the batch is gone, as the ring still has it.
    Crash {
        torn: usize,
    },
    Reboot,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..6_u32).prop_map(Step::Open),
        6 => (0..6_u32, 1..30_u64).prop_map(|(session, count)| Step::Events { session, count }),
        1 => (0..6_u32).prop_map(Step::Close),
        4 => Just(Step::Commit),
        1 => (0..400_usize).prop_map(|torn| Step::Crash { torn }),
        1 => Just(Step::Reboot),
    ]
}

/// What the spool must hold: for each session its last sequence number and whether it is closed.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    sessions: BTreeMap<u32, (u64, bool)>,
    ring_end: u64,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_spool_holds_what_was_committed_and_nothing_else(
        steps in proptest::collection::vec(step(), 1..80),
        segment_bytes in 2_000..20_000_u64,
    ) {
        let dir = tempdir();
        let mut config = SpoolConfig { segment_bytes, ..config(dir.path()) };
        let mut boots = 1;
        let (mut writer, _) = open(&config).unwrap();
        let mut batch = BatchBuilder::new();
        let (mut stored, mut pending) = (Model::default(), Model::default());
        for step in steps {
            match step {
                Step::Open(n) => {
                    if let std::collections::btree_map::Entry::Vacant(new) =
                        pending.sessions.entry(n)
                    {
                        new.insert((0, false));
                        batch.push_journal(&opened(n)).unwrap();
                    }
                }
                Step::Events { session, count } => {
                    if let Some((last, false)) = pending.sessions.get_mut(&session) {
                        push(&mut batch, session, *last + 1..=*last + count);
                        *last += count;
                        pending.ring_end += count * 80;
                    }
                }
                Step::Close(n) => {
                    if let Some((last, is_closed @ false)) = pending.sessions.get_mut(&n) {
                        batch.push_journal(&closed(n, *last)).unwrap();
                        *is_closed = true;
                    }
                }
                Step::Commit => {
                    let ring = RingPosition { ring_id: u64::from(boots), end: pending.ring_end };
                    writer.commit(&mut batch, Some(ring), wall()).unwrap();
                    stored = pending.clone();
                }
                Step::Crash { .. } | Step::Reboot => {
                    drop(writer);
                    batch = BatchBuilder::new();
                    pending = stored.clone();
                    if let Step::Crash { torn } = step {
                        tear(&config.dir, torn);
                    } else {
                        boots += 1;
                        config.boot_id = boot(boots);
                    }
                    let (again, recovered) = open(&config).unwrap();
                    writer = again;
                    let open = stored.sessions.iter().filter(|(_, (_, closed))| !closed);
                    prop_assert_eq!(recovered.open.len() + recovered.cut_off.len(), open.count());
                    for open in recovered.open.iter().chain(&recovered.cut_off) {
                        let n = open.opened.leader.tgid - 100;
                        prop_assert_eq!(open.stored, stored.sessions[&n].0);
                    }
                    if let Some(ring) = recovered.ring {
                        prop_assert_eq!(ring.ring_id, u64::from(boots));
                        prop_assert!(ring.end <= stored.ring_end);
                    }
                }
            }
            prop_assert!(recount(dir.path()) == stored.sessions);
        }
    }
}

fn recount(dir: &Path) -> BTreeMap<u32, (u64, bool)> {
    let reader = SpoolReader::open(&dir.join("spool")).unwrap();
    (0..6)
        .filter_map(|n| {
            let (seqs, found) = read_from(&reader, n)?;
            let last = seqs.len() as u64;
            assert_eq!(seqs, (1..=last).collect::<Vec<_>>());
            let closed = match found {
                Completeness::Complete => true,
                Completeness::StillOpen => false,
                Completeness::Missing(ranges) => panic!("nothing was lost: {ranges:?}"),
            };
            Some((n, (last, closed)))
        })
        .collect()
}

/// Leaves the beginning of a batch behind, as a process that was killed while writing does.
fn tear(dir: &Path, len: usize) {
    let newest = vctl_common::spool::list(dir)
        .unwrap()
        .segments
        .pop()
        .unwrap();
    let bytes = std::fs::read(&newest.segment).unwrap();
    let mut batch = bytes.get(312..).unwrap_or_default().to_vec();
    let first = match batch.get(16..20) {
        Some(len) => u32::from_le_bytes(len.try_into().unwrap()) as usize,
        None => return,
    };
    batch.truncate(len.min(first - 1));
    std::fs::write(&newest.segment, [bytes, batch].concat()).unwrap();
}
