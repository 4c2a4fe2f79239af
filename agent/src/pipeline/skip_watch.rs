//! Notices programs of the probe that the kernel has skipped.

use vctl_common::session::{Gap, GapCause};
use vctl_common::status::{CollectorStatus, SkipBases};
use vctl_common::time::BootNs;

use crate::probe::Probe;
use crate::session::boot_now;

use super::spool_out::SpoolOut;

/// The skipped calls of the probe, as far as they are stated.
#[derive(Debug)]
pub(super) struct SkipWatch {
    count: u64,
    /// When they were counted, by this collector or the one before.
    at: BootNs,
    bases: SkipBases,
}

impl SkipWatch {
    /// Continues from the count of the collector before, if this is the same probe.
    pub(super) fn new(probe: &mut Probe, before: &CollectorStatus) -> Self {
        let loaded_at = BootNs(probe.maps.state().loaded_at);
        let known = before.probe_skipped.filter(|_| probe.taken_over);
        let known = known.filter(|(_, at)| *at >= loaded_at);
        if known.is_some() {
            probe.continue_skips(&before.skip_bases);
        }
        let now = probe.skipped();
        let (count, at) = known.map_or_else(|| (now, boot_now()), |known| stated(known, now));
        Self {
            count,
            at,
            bases: probe.skip_bases(),
        }
    }

    /// Counts skipped calls against every session: the session of a skipped event is not known. Returns whether there
    /// are new ones.
    pub(super) fn look(&mut self, probe: &mut Probe, out: &mut SpoolOut) -> bool {
        let mut now = boot_now();
        let mut count = probe.skipped();
        let is_any_new = count > self.count;
        if is_any_new {
            probe.leave_skipped_exits();
            (count, now) = (probe.skipped(), boot_now());
            out.gap(Gap::new(GapCause::ProbeSkipped, None, self.at, now));
        }
        (self.count, self.at) = (count, now);
        is_any_new
    }

    pub(super) fn report(&self, status: &mut CollectorStatus) {
        status.probe_skipped = Some((self.count, self.at));
        status.skip_bases.clone_from(&self.bases);
    }
}

/// Returns up to which count the collector before has stated skipped calls, and when.
fn stated((count, at): (u64, BootNs), now: u64) -> (u64, BootNs) {
    // An older collector counted otherwise once the probe had second copies. All of it may be new.
    (if count > now { 0 } else { count }, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_that_the_collector_before_stated_are_not_new() {
        let known = |count, now| stated((count, BootNs(200)), now);
        assert_eq!(known(5, 5), (5, BootNs(200)));
        assert_eq!(known(5, 7), (5, BootNs(200)));
        assert_eq!(known(5, 2), (0, BootNs(200)));
    }
}
