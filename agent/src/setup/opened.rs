//! Waits until the collector has opened the wrapped secret id of an enrolment.

use std::path::Path;
use std::time::{Duration, Instant};

use vctl_common::vault::secret_id::{is_wrapped, read};

/// Interval between two looks at the file.
const LOOK: Duration = Duration::from_millis(100);

/// Returns false if the file still has a wrapped secret id after this time. A file that cannot be read counts as opened:
/// `check` reports it.
pub(super) fn within(path: &Path, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    while read(path).is_ok_and(|secret| is_wrapped(&secret)) {
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    true
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_secret_id_that_stays_wrapped_is_not_opened() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let put = |text: &str| fs::write(file.path(), text).unwrap();
        put("hvs.CAESIJ\n");
        assert!(!within(file.path(), Duration::from_millis(10)));
        put("7f3a2f4e-6b1c-4c0e-9a55-0d5b3c1e2a77\n");
        assert!(within(file.path(), Duration::ZERO));
        // Opened meanwhile.
        put("hvs.CAESIJ\n");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| within(file.path(), Duration::from_secs(30)));
            std::thread::sleep(LOOK);
            put("7f3a2f4e-6b1c-4c0e-9a55-0d5b3c1e2a77\n");
            assert!(waits.join().unwrap());
        });
    }
}
